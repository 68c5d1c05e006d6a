/*
 * Where chunks lie on the local disk (src/services/blobs/chunk-places.ts): a file for each, many in one file, or as parts of the
 * raw blob they belong to. Threads may share a source.
 */
#ifndef TVIX_STORE_CHUNK_SOURCE_H
#define TVIX_STORE_CHUNK_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "blake3.h"

/* Since Linux 5.12; older headers lack it. */
#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

/* Without waiting for a writer: what has the name of a chunk or blob may be a pipe. */
#define OPEN_AS_IT_LIES (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)

enum source_kind {
	/* `<4 hex>/<64 hex>`: zstd frames, one or several */
	SOURCE_LOOSE,
	/* `<8 hex>.pack`: zstd frames of many chunks, one behind the other */
	SOURCE_PACKS,
	/* `<2 hex>/<64 hex>`: blobs as they are */
	SOURCE_RAW,
};

/* Which part of a pack or blob: 16 bytes, as writePlaces of src/services/blobs/chunk-places.ts has them. */
struct place {
	uint64_t offset;
	/* Of a pack only; `stored`: bytes of the frames, 0 where the chunk is in no pack. */
	uint32_t pack, stored;
};

/* A chunk that is wanted. */
struct chunk {
	/* The blob that it is a part of is looked at for SOURCE_RAW only. */
	const uint8_t *digest, *blob;
	/* Bytes */
	size_t size;
	struct place place;
	/* Leave it in the page cache even if it is large and was not there: nobody above keeps it. */
	bool stays;
};

/*
 * What a file was when it was found to be the blob it should be: 40 bytes, as src/services/blobs/file-state.ts writes them. Writing to it
 * changes its time of change, which nobody can set.
 */
struct file_state {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
};

static inline int64_t nanoseconds(const struct timespec *time)
{
	return time->tv_sec * 1000000000LL + time->tv_nsec;
}

static inline struct file_state state_of(const struct stat *file)
{
	return (struct file_state){file->st_dev, file->st_ino, file->st_size, nanoseconds(&file->st_mtim),
	                           nanoseconds(&file->st_ctim)};
}

struct chunk_source;

/* What a chunk lies in. */
struct source_file {
	int fd;
	struct open_pack *pack;
};

/* The folder is opened when the first chunk is wanted: it may come into being with that. NULL without memory. */
struct chunk_source *open_chunk_source(enum source_kind kind, const char *folder);
/* Nobody may use it any more. NULL is none. */
void close_chunk_source(struct chunk_source *source);
enum source_kind kind_of(const struct chunk_source *source);

/* `at_once`: only what the kernel can open without asking the disk. To be closed; false: nothing is open. */
bool open_source_file(struct chunk_source *source, const struct chunk *chunk, bool at_once, struct source_file *file);
void close_source_file(struct chunk_source *source, const struct source_file *file);

#endif
