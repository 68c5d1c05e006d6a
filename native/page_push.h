/*
 * What a thread of the page filler does with a group of files: reads and decompresses them, compares them with their digests, side by
 * side, and stores those that are right into the page cache.
 */
#ifndef TVIX_STORE_PAGE_PUSH_H
#define TVIX_STORE_PAGE_PUSH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunk_file.h"
#include "pack_piece.h"

/* Files that are hashed side by side. */
#define SHARE 16
/* Files that a thread takes at a time at most; as FILL_GROUP in src/mount/fuse/page-filler.ts. */
#define GROUP 128
/* What a record may announce; no less than FILL_FILE_BYTES_MAX in src/support/limits.ts. */
#define FILE_MAX 65536

/* As FILL_RECORD in src/mount/tree/fill-ahead.ts. */
struct record {
	uint64_t nodeid;
	uint32_t size;
	uint32_t padding;
	uint8_t digest[BLAKE3_BYTES];
	struct place place;
};

/* Files and bytes that were stored, and files that could not be, of all threads. */
struct push_counts {
	_Atomic uint64_t files, bytes, failed;
};

struct page_push {
	int device;
	struct chunk_source *source;
	struct push_counts *counts;
	struct frame_room room;
	struct pack_piece piece;
	struct record group[GROUP];
	/* A share that was read and is not pushed yet: one file behind the other; those of records that are right always fit. */
	uint8_t contents[SHARE * FILE_MAX], digests[SHARE][BLAKE3_BYTES];
	struct blake3_message messages[SHARE];
	const struct record *loaded[SHARE];
	size_t count;
};

/* The first `count` of the group, wherever they lie. The last share stays until push_loaded. */
void push_one_by_one(struct page_push *push, size_t count);
/*
 * Those of them that lie behind the first one in its pack, with others between them that were stored at the same time. False when
 * some are not among `is_found`, which begins as all false.
 */
bool push_neighbours(struct page_push *push, size_t count, bool is_found[GROUP]);
void push_loaded(struct page_push *push);

#endif
