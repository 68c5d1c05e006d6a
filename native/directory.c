#include "directory.h"

#include <stdlib.h>
#include <string.h>

#include "blake3.h"

#define NAME_MAX_BYTES 255
#define TARGET_MAX_BYTES 4095
#define KINDS 3

/* False unless it is the shortest form. */
static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t byte = *(*at)++;
		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80)
			return byte != 0 || shift == 0;
	}
	return false;
}

/* A field of bytes, which is left out when it is empty. */
static bool read_bytes(const uint8_t **at, const uint8_t *end, uint8_t tag, size_t max, const uint8_t **bytes,
                       uint32_t *length)
{
	uint64_t announced;
	if (*at == end || *(*at)++ != tag || !read_varint(at, end, &announced))
		return false;
	if (announced == 0 || announced > max || announced > (size_t)(end - *at))
		return false;
	*bytes = *at;
	*length = announced;
	*at += announced;
	return true;
}

static bool is_valid_name(const uint8_t *name, size_t length)
{
	if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
		return false;
	return !memchr(name, 0, length) && !memchr(name, '/', length);
}

static bool has_tag(const uint8_t **at, const uint8_t *end, uint8_t tag)
{
	if (*at == end || **at != tag)
		return false;
	++*at;
	return true;
}

bool read_node(const uint8_t **at, const uint8_t *end, struct node *node)
{
	uint64_t length, executable;
	if (*at == end)
		return false;
	uint8_t kind = *(*at)++;
	if ((kind != NODE_DIRECTORY && kind != NODE_FILE && kind != NODE_SYMLINK) || !read_varint(at, end, &length) ||
	    length > (size_t)(end - *at))
		return false;
	*node = (struct node){.kind = kind};
	const uint8_t *field = *at;
	end = field + length;
	*at = end;
	if (!read_bytes(&field, end, 0x0a, NAME_MAX_BYTES, &node->name, &node->name_length) ||
	    !is_valid_name(node->name, node->name_length))
		return false;
	size_t value_max = kind == NODE_SYMLINK ? TARGET_MAX_BYTES : BLAKE3_BYTES;
	if (!read_bytes(&field, end, 0x12, value_max, &node->value, &node->value_length))
		return false;
	if (kind == NODE_SYMLINK) {
		node->size = node->value_length;
		return field == end && !memchr(node->value, 0, node->value_length);
	}
	if (node->value_length != BLAKE3_BYTES)
		return false;
	if (has_tag(&field, end, 0x18) && (!read_varint(&field, end, &node->size) || node->size == 0))
		return false;
	if (kind == NODE_FILE && has_tag(&field, end, 0x20)) {
		node->executable = true;
		if (!read_varint(&field, end, &executable) || executable != 1)
			return false;
	}
	return field == end;
}

int compare_names(const uint8_t *a, size_t a_length, const uint8_t *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
	return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

/* One of the three lists, as offsets. */
struct list {
	uint32_t *offsets;
	size_t count, at;
};

static bool has_room(uint32_t **offsets, size_t count, size_t *room)
{
	if (count < *room)
		return true;
	size_t more = *room ? *room * 2 : 64;
	uint32_t *grown = realloc(*offsets, more * sizeof **offsets);
	if (!grown)
		return false;
	*offsets = grown;
	*room = more;
	return true;
}

static bool adds_up(uint64_t *total, uint64_t size)
{
	return !__builtin_add_overflow(*total, size, total);
}

/* Offsets in the order of the encoding, how many there are of each kind; NULL as index_directory. */
static uint32_t *read_all(const uint8_t *encoded, size_t length, size_t counts[KINDS])
{
	const uint8_t *at = encoded, *end = encoded + length;
	uint32_t *offsets = NULL;
	uint64_t total = 0;
	struct node node, previous = {0};
	size_t count = 0, room = 0;
	if (length > UINT32_MAX || !has_room(&offsets, 0, &room))
		return NULL;
	for (; at < end; count++) {
		if (!has_room(&offsets, count, &room))
			goto refused;
		offsets[count] = at - encoded;
		if (!read_node(&at, end, &node) || node.kind < previous.kind || !adds_up(&total, 1))
			goto refused;
		if (node.kind == NODE_DIRECTORY && !adds_up(&total, node.size))
			goto refused;
		if (node.kind == previous.kind &&
		    compare_names(previous.name, previous.name_length, node.name, node.name_length) >= 0)
			goto refused;
		counts[node.kind == NODE_DIRECTORY ? 0 : node.kind == NODE_FILE ? 1 : 2]++;
		previous = node;
	}
	return offsets;
refused:
	free(offsets);
	return NULL;
}

static void name_at(const uint8_t *encoded, size_t length, uint32_t offset, struct node *node)
{
	const uint8_t *at = encoded + offset;
	read_node(&at, encoded + length, node);
}

uint32_t *index_directory(const uint8_t *encoded, size_t length, size_t *count)
{
	size_t counts[KINDS] = {0};
	uint32_t *offsets = read_all(encoded, length, counts);
	if (!offsets)
		return NULL;
	*count = counts[0] + counts[1] + counts[2];
	if (counts[0] == *count || counts[1] == *count || counts[2] == *count)
		return offsets;
	uint32_t *merged = malloc(*count * sizeof *merged);
	struct list lists[KINDS] = {{offsets, counts[0], 0},
	                            {offsets + counts[0], counts[1], 0},
	                            {offsets + counts[0] + counts[1], counts[2], 0}};
	struct node heads[KINDS];
	for (int i = 0; i < KINDS; i++)
		if (lists[i].count > 0)
			name_at(encoded, length, lists[i].offsets[0], &heads[i]);
	for (size_t done = 0; merged && done < *count; done++) {
		int first = -1, order = 0;
		for (int i = 0; i < KINDS && merged; i++) {
			if (lists[i].at == lists[i].count)
				continue;
			if (first >= 0)
				order = compare_names(heads[i].name, heads[i].name_length, heads[first].name,
				                      heads[first].name_length);
			if (first >= 0 && order == 0) {
				free(merged);
				merged = NULL;
			} else if (first < 0 || order < 0) {
				first = i;
			}
		}
		if (!merged)
			break;
		struct list *list = &lists[first];
		merged[done] = list->offsets[list->at++];
		if (list->at < list->count)
			name_at(encoded, length, list->offsets[list->at], &heads[first]);
	}
	free(offsets);
	return merged;
}
