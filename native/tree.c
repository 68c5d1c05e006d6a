/*
 * The inner loops of the mounted tree: checking a directory, finding a name in it, listing it for the kernel with an inode
 * for each entry, and telling which directory comes next. src/mount/tree does the same in JavaScript, and decides everything.
 * Used on its thread only.
 */
#include <stdlib.h>
#include <string.h>

#include "blake3.h"
#include "directory.h"
#include "inode_table.h"
#include "listing.h"
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

/* From the first four arguments: tables, encoded, index, inode. */
static bool directory_of(napi_env env, napi_value args[4], struct open_directory *directory)
{
	double inode;
	uint8_t *encoded;
	void *index;
	if (!inode_table_of(env, args[0], &directory->table) ||
	    !bytes_of(env, args[1], &encoded, &directory->length) ||
	    !array_of(env, args[2], napi_uint32_array, &index, &directory->count) || napi_get_value_double(env, args[3], &inode) != napi_ok)
		return false;
	directory->encoded = encoded;
	directory->index = index;
	return find_directory(directory, inode);
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

/*
 * listEntries(tables, encoded, index, inode, into, records, page): writes the entries from page[POSITION] on behind
 * page[USED], each with a reference, and a fill record for each small file. How it ended is a list_status.
 */
static napi_value list_entries(napi_env env, napi_callback_info info)
{
	napi_value args[7];
	size_t argc = 7, room, records_room, fields;
	uint8_t *into, *records;
	double *page;
	struct open_directory directory;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!directory_of(env, args, &directory) || !bytes_of(env, args[4], &into, &room) ||
	    !bytes_of(env, args[5], &records, &records_room) ||
	    !array_of(env, args[6], napi_float64_array, (void **)&page, &fields) || fields != PAGE_FIELDS || page[LIMIT] > room || (uintptr_t)into % 8 != 0)
		return NULL;
	enum list_status status = list_page(&directory, into, records, records_room, page);
	return status == LIST_WRONG ? NULL : integer(env, status);
}

/* Where the node at `offset` ends; false when none is there. */
static bool end_of_node(const struct open_directory *directory, size_t offset, size_t *end)
{
	const uint8_t *at = directory->encoded + offset;
	struct node node;
	if (offset >= directory->length || !read_node(&at, directory->encoded + directory->length, &node))
		return false;
	*end = at - directory->encoded;
	return true;
}

/*
 * directoryAfter(tables, encoded, index, inode, position): the inode of the directory that is listed next after the one at a
 * position, or of the first one for -1; 0 when there is none, or the kernel does not know it. In an encoding directories stand
 * in front of everything else, in the order in which they are listed.
 */
static napi_value directory_after(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5, offset = 0;
	int32_t position;
	struct open_directory directory;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!directory_of(env, args, &directory) || napi_get_value_int32(env, args[4], &position) != napi_ok)
		return NULL;
	if (position >= 0 && ((size_t)position >= directory.count || !end_of_node(&directory, directory.index[position], &offset)))
		return integer(env, 0);
	if (offset >= directory.length || directory.encoded[offset] != NODE_DIRECTORY)
		return integer(env, 0);
	size_t next = position + 1;
	while (next < directory.count && directory.index[next] != offset)
		next++;
	size_t slot = next < directory.count ? find_place(&directory.table, directory.slot, next) : 0;
	return integer(env, slot == 0 ? 0 : (int64_t)number_of(&directory.table, slot));
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"openDirectory", open_directory},
	    {"lookupEntry", lookup_entry},
	    {"listEntries", list_entries},
	    {"directoryAfter", directory_after},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
