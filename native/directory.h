/* The protobuf encoding of a Directory (src/model/castore/directory-codec.ts), read in place. */
#ifndef TVIX_STORE_DIRECTORY_H
#define TVIX_STORE_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The tags of the three lists: field number and wire type. */
enum node_kind { NODE_DIRECTORY = 0x0a, NODE_FILE = 0x12, NODE_SYMLINK = 0x1a };

struct node {
	enum node_kind kind;
	bool executable;
	uint32_t name_length;
	/* 32 bytes, or the target of a symlink */
	uint32_t value_length;
	const uint8_t *name, *value;
	uint64_t size;
};

/* The entry whose message begins at `*at`, which moves behind it. False for what is not valid or not canonical. */
bool read_node(const uint8_t **at, const uint8_t *end, struct node *node);

/*
 * The offsets of all entries in byte order of their names, to be freed. NULL for what is not a canonical encoding of a
 * valid directory (spec §1.7, §1.8), which says nothing about why: src/model does.
 */
uint32_t *index_directory(const uint8_t *encoded, size_t length, size_t *count);

/* Order of memcmp, the shorter of two with a common prefix first. */
int compare_names(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length);

#endif
