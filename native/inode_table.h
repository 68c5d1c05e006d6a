/*
 * The tables of src/mount/tree/inode-table.ts, which owns them: the same memory, the same hashes, the same rules. Used on
 * the thread of JavaScript only.
 */
#ifndef TVIX_STORE_INODE_TABLE_H
#define TVIX_STORE_INODE_TABLE_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory.h"

enum slot_kind { SLOT_DEAD, SLOT_DIRECTORY, SLOT_FILE, SLOT_EXECUTABLE, SLOT_SYMLINK };

struct inode_table {
	size_t capacity, buckets_count, targets_room;
	uint8_t *kind, *digests, *targets;
	uint32_t *generation, *position, *next, *buckets;
	double *references, *parent, *counters;
	uint64_t *size, *ino, *file_bytes;
};

/* From the array of typed arrays that JavaScript keeps; false when it is none. */
bool inode_table_of(napi_env env, napi_value tables, struct inode_table *table);

/* The slot of a number that is alive, or 0. The root has none here. */
size_t slot_of(const struct inode_table *table, double inode);

double number_of(const struct inode_table *table, size_t slot);

/* The slot of the directory at a position of another one, if it is known, or 0. */
size_t find_place(const struct inode_table *table, size_t parent, uint32_t position);

/* The slot of an entry, made if it is not known yet; 0 when there is no room for it. */
size_t intern(struct inode_table *table, const struct node *node, size_t parent, uint32_t position);

#endif
