/*
 * The inner loops of the mounted tree: checking a directory, finding a name in it, and listing it for the kernel with an
 * inode for each entry. src/mount/tree does the same in JavaScript, and decides everything. Used on its thread only.
 */
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blake3.h"
#include "directory.h"
#include "inode_table.h"
#include "values.h"

/* openDirectory(encoded, digest): the index of its entries, or undefined unless it is canonical, valid and has the digest. */
static napi_value open_directory(napi_env env, napi_callback_info info)
{
	napi_value args[2], buffer, index;
	size_t argc = 2, length, digest_length, count;
	uint8_t *encoded, *digest, actual[BLAKE3_BYTES];
	void *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &encoded, &length) || !bytes_of(env, args[1], &digest, &digest_length) ||
	    digest_length != BLAKE3_BYTES)
		return NULL;
	blake3(encoded, length, actual);
	if (memcmp(actual, digest, BLAKE3_BYTES) != 0)
		return NULL;
	uint32_t *offsets = index_directory(encoded, length, &count);
	if (!offsets)
		return NULL;
	if (napi_create_arraybuffer(env, count * sizeof *offsets, &into, &buffer) != napi_ok) {
		free(offsets);
		return NULL;
	}
	if (count > 0)
		memcpy(into, offsets, count * sizeof *offsets);
	free(offsets);
	return napi_create_typedarray(env, napi_uint32_array, count, buffer, 0, &index) == napi_ok ? index : NULL;
}

/* A directory as JavaScript keeps it, and what it is as an inode. */
struct open_directory {
	struct inode_table table;
	uint8_t *encoded;
	uint32_t *index;
	size_t length, count, slot;
};

/* From the first four arguments: tables, encoded, index, inode. */
static bool directory_of(napi_env env, napi_value args[4], struct open_directory *directory)
{
	napi_typedarray_type type;
	double inode;
	if (!inode_table_of(env, args[0], &directory->table) ||
	    !bytes_of(env, args[1], &directory->encoded, &directory->length) ||
	    napi_get_typedarray_info(env, args[2], &type, &directory->count, (void **)&directory->index, NULL, NULL) !=
	        napi_ok ||
	    type != napi_uint32_array || napi_get_value_double(env, args[3], &inode) != napi_ok)
		return false;
	directory->slot = slot_of(&directory->table, inode);
	return directory->slot != 0 && directory->table.kind[directory->slot] == SLOT_DIRECTORY;
}

static bool entry_at(const struct open_directory *directory, size_t position, struct node *node)
{
	uint32_t offset = directory->index[position];
	if (offset >= directory->length)
		return false;
	const uint8_t *at = directory->encoded + offset;
	return read_node(&at, directory->encoded + directory->length, node);
}

static bool find_name(const struct open_directory *directory, const uint8_t *name, size_t length, struct node *node,
                      size_t *position)
{
	for (size_t low = 0, high = directory->count; low < high;) {
		size_t middle = low + (high - low) / 2;
		if (!entry_at(directory, middle, node))
			return false;
		int order = compare_names(node->name, node->name_length, name, length);
		if (order == 0) {
			*position = middle;
			return true;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* lookupEntry(tables, encoded, index, inode, name): the inode under a name, 0 for none, -1 when the tables are full. */
static napi_value lookup_entry(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5, length, position;
	uint8_t *name;
	struct open_directory directory;
	struct node node;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!directory_of(env, args, &directory) || !bytes_of(env, args[4], &name, &length))
		return NULL;
	if (length == 0 || !find_name(&directory, name, length, &node, &position))
		return integer(env, 0);
	size_t slot = intern(&directory.table, &node, directory.slot, position);
	return integer(env, slot == 0 ? -1 : (int64_t)number_of(&directory.table, slot));
}

/* As src/mount/tree/packed.ts: where listing begins and ends, and what it left. */
enum page_field { POSITION, USED, LIMIT, RECORDS_USED, RECORDS_CONTENTS, RECORD_FILE_MAX, UID, GID, PAGE_FIELDS };
enum list_status { LIST_END, LIST_FULL, LIST_NO_ROOM };

/* struct record of page_filler.c, which learns the place when it is pushed. */
struct fill_record {
	uint64_t nodeid;
	uint32_t size, padding;
	uint8_t digest[BLAKE3_BYTES], place[16];
};

/* Contents never change: what the kernel knows of them holds for ever. */
#define FOREVER_SECONDS (1ULL << 40)
#define SIZE_MAX_SAFE 9007199254740991ULL

static void write_entry(struct fuse_entry_out *out, const struct inode_table *table, size_t slot, const double *page)
{
	uint64_t size = table->size[slot] < SIZE_MAX_SAFE ? table->size[slot] : SIZE_MAX_SAFE;
	uint32_t mode = table->kind[slot] == SLOT_DIRECTORY    ? S_IFDIR | 0555
	                : table->kind[slot] == SLOT_SYMLINK    ? S_IFLNK | 0444
	                : table->kind[slot] == SLOT_EXECUTABLE ? S_IFREG | 0555
	                                                       : S_IFREG | 0444;
	*out = (struct fuse_entry_out){
	    .nodeid = (uint64_t)number_of(table, slot),
	    .entry_valid = FOREVER_SECONDS,
	    .attr_valid = FOREVER_SECONDS,
	    .attr = {.ino = table->ino[slot],
	             .size = size,
	             .blocks = (size + 511) / 512,
	             .mtime = 1,
	             .mode = mode,
	             .nlink = 1,
	             .uid = (uint32_t)page[UID],
	             .gid = (uint32_t)page[GID],
	             .blksize = 4096},
	};
}

static void write_direntplus(uint8_t *into, size_t length, const struct inode_table *table, size_t slot,
                             const struct node *node, const double *page)
{
	struct fuse_direntplus *record = (struct fuse_direntplus *)into;
	write_entry(&record->entry_out, table, slot, page);
	record->dirent.ino = table->ino[slot];
	record->dirent.off = (uint64_t)page[POSITION] + 1;
	record->dirent.namelen = node->name_length;
	record->dirent.type = record->entry_out.attr.mode >> 12;
	memcpy(record->dirent.name, node->name, node->name_length);
	memset(record->dirent.name + node->name_length, 0, length - FUSE_NAME_OFFSET_DIRENTPLUS - node->name_length);
}

static void write_fill_record(uint8_t *records, const struct inode_table *table, size_t slot, double *page)
{
	struct fill_record record = {(uint64_t)number_of(table, slot), (uint32_t)table->size[slot], 0, {0}, {0}};
	memcpy(record.digest, table->digests + slot * BLAKE3_BYTES, BLAKE3_BYTES);
	memcpy(records + (size_t)page[RECORDS_USED], &record, sizeof record);
	page[RECORDS_USED] += sizeof record;
	page[RECORDS_CONTENTS] += record.size;
}

/*
 * listEntries(tables, encoded, index, inode, into, records, page): writes the entries from page[POSITION] on behind
 * page[USED], each with a reference, and a fill record for each small file. How it ended is a list_status.
 */
static napi_value list_entries(napi_env env, napi_callback_info info)
{
	napi_value args[7];
	size_t argc = 7, room, records_room, fields;
	uint8_t *into, *records;
	napi_typedarray_type type;
	double *page;
	struct open_directory directory;
	struct node node;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!directory_of(env, args, &directory) || !bytes_of(env, args[4], &into, &room) ||
	    !bytes_of(env, args[5], &records, &records_room) ||
	    napi_get_typedarray_info(env, args[6], &type, &fields, (void **)&page, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || fields != PAGE_FIELDS || page[LIMIT] > room || (uintptr_t)into % 8 != 0)
		return NULL;
	struct inode_table *table = &directory.table;
	for (; page[POSITION] < directory.count; page[POSITION]++) {
		if (!entry_at(&directory, page[POSITION], &node))
			return NULL;
		size_t length = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + node.name_length);
		if (page[USED] + length > page[LIMIT] || page[RECORDS_USED] + sizeof(struct fill_record) > records_room)
			return integer(env, LIST_FULL);
		size_t slot = intern(table, &node, directory.slot, page[POSITION]);
		if (slot == 0)
			return integer(env, LIST_NO_ROOM);
		table->references[slot]++;
		write_direntplus(into + (size_t)page[USED], length, table, slot, &node, page);
		page[USED] += length;
		if (node.kind == NODE_FILE && node.size > 0 && node.size <= page[RECORD_FILE_MAX])
			write_fill_record(records, table, slot, page);
	}
	return integer(env, LIST_END);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"openDirectory", open_directory},
	    {"lookupEntry", lookup_entry},
	    {"listEntries", list_entries},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
