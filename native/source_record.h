/* An entry of a tree that is walked, as src/support/source-records.ts has it. */
#ifndef TVIX_STORE_SOURCE_RECORD_H
#define TVIX_STORE_SOURCE_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct source_record {
	/* Of a file. Of a FAILURE: what was being done, and the number of the error. */
	uint64_t size, inode, device, links;
	int64_t modified_ns, changed_ns;
	/* st_mode of a file, the type alone of everything else; or one of the marks. */
	uint32_t mode;
	/* Where its name begins among the names, without a NUL; the target of a symlink comes right behind it. */
	uint32_t name;
	uint16_t name_length, target_length;
	/* Nothing of the walk's. */
	uint32_t note;
};

/* In the place of a mode: a directory ends; the walk does, with a path for a name. */
enum { MARK_END = 0, MARK_FAILURE = 1 };
/* What failed. */
enum { FAILED_STAT, FAILED_LIST, FAILED_READLINK, FAILED_CHANGED, FAILED_DEPTH, FAILED_NAMES };

static inline int64_t ns_of(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static inline void note_state(struct source_record *record, const struct stat *state)
{
	record->size = state->st_size;
	record->inode = state->st_ino;
	record->device = state->st_dev;
	record->links = state->st_nlink;
	record->modified_ns = ns_of(state->st_mtim);
	record->changed_ns = ns_of(state->st_ctim);
	record->mode = state->st_mode;
}

/* Who hard-links a file moves its ctime and changes nothing. */
static inline bool is_as_noted(const struct source_record *record, const struct stat *now)
{
	return S_ISREG(now->st_mode) && (uint64_t)now->st_size == record->size && now->st_ino == record->inode &&
	       now->st_dev == record->device && ns_of(now->st_mtim) == record->modified_ns &&
	       (ns_of(now->st_ctim) == record->changed_ns || now->st_nlink != record->links);
}

#endif
