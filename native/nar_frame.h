/* The NAR of a tree, framed from the records of its walk and hashed as it goes; files are read where they lie. */
#ifndef TVIX_STORE_NAR_FRAME_H
#define TVIX_STORE_NAR_FRAME_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "source_record.h"

/* TREE_DEPTH_MAX of src/support/limits.ts is what the walk has open at most. */
#define NAR_DEPTH_MAX 256
/* What is read and framed is gathered, so that the hash gets much at once; it stays in the nearest cache. */
#define NAR_BUFFER_BYTES (64 * 1024)
/* Beside 0 and -errno: a file is not as it was. */
#define NAR_CHANGED 1

struct nar {
	void *sha256;
	uint64_t size;
	/* Of the entry that is hashed, and how long it is in each directory that is open. */
	char path[PATH_MAX];
	size_t lengths[NAR_DEPTH_MAX];
	size_t depth;
	/* Contents of a file that JavaScript has still to give, and what follows them. */
	uint64_t missing;
	size_t padding;
	bool is_file_open;
	/* Of NAR_BUFFER_BYTES, there while something is put; flush before it goes. */
	uint8_t *buffer;
	size_t filled;
	/* The hash refused something: no digest will come of it. */
	bool has_failed;
};

/* 0, -errno or NAR_CHANGED. `name`: of the record, and behind it the target of a symlink. */
int put_record(struct nar *nar, const struct source_record *record, const char *name);
/* Of the file that is open. 0, or -EINVAL. */
int put_contents(struct nar *nar, const uint8_t *bytes, size_t length);
void flush(struct nar *nar);

#endif
