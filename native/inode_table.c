#include "inode_table.h"

#include <string.h>

#include "blake3.h"
#include "values.h"

#define SLOTS 268435456.0
#define FIRST_SLOT 2
/* As identity.ts */
#define SALT_EXECUTABLE 0x8f1c66d30b5e92a7
#define SALT_SYMLINK 0x35a94ed1c27f6048
#define SALT_DIRECTORY 0xd2e07b84691a3cf5

enum counter { END, DEAD, COUNT, SEED, TARGETS_END, TARGETS_LIVE, COUNTERS };

struct array {
	void *data;
	size_t length;
};

static bool table_of(napi_env env, napi_value tables, uint32_t index, napi_typedarray_type wanted, struct array *array)
{
	napi_value element;
	return napi_get_element(env, tables, index, &element) == napi_ok &&
	       array_of(env, element, wanted, &array->data, &array->length);
}

bool inode_table_of(napi_env env, napi_value tables, struct inode_table *table)
{
	static const napi_typedarray_type types[] = {
	    napi_uint8_array,   napi_uint32_array, napi_float64_array, napi_biguint64_array, napi_biguint64_array,
	    napi_uint8_array,   napi_float64_array, napi_uint32_array, napi_uint32_array,    napi_uint32_array,
	    napi_float64_array, napi_biguint64_array, napi_uint8_array,
	};
	struct array a[sizeof types / sizeof *types];
	for (uint32_t i = 0; i < sizeof types / sizeof *types; i++)
		if (!table_of(env, tables, i, types[i], &a[i]))
			return false;
	*table = (struct inode_table){
	    .capacity = a[0].length,
	    .kind = a[0].data,
	    .generation = a[1].data,
	    .references = a[2].data,
	    .size = a[3].data,
	    .ino = a[4].data,
	    .digests = a[5].data,
	    .parent = a[6].data,
	    .position = a[7].data,
	    .next = a[8].data,
	    .buckets = a[9].data,
	    .buckets_count = a[9].length,
	    .counters = a[10].data,
	    .file_bytes = a[11].data,
	    .targets = a[12].data,
	    .targets_room = a[12].length,
	};
	for (uint32_t i = 1; i <= 8; i++)
		if (a[i].length != table->capacity * (i == 5 ? BLAKE3_BYTES : 1))
			return false;
	return a[10].length == COUNTERS && a[11].length == 1 && table->buckets_count > 0 &&
	       table->counters[END] <= table->capacity;
}

size_t slot_of(const struct inode_table *table, double inode)
{
	if (!(inode >= FIRST_SLOT && inode < 9007199254740992.0))
		return 0;
	size_t slot = (uint64_t)inode % (uint64_t)SLOTS;
	if (slot < FIRST_SLOT || slot >= table->counters[END] || table->kind[slot] == SLOT_DEAD)
		return 0;
	return number_of(table, slot) == inode ? slot : 0;
}

double number_of(const struct inode_table *table, size_t slot)
{
	return table->generation[slot] * SLOTS + slot;
}

static uint32_t mix(uint32_t hash, uint32_t word)
{
	uint32_t mixed = (hash ^ word) * 0x9e3f79b1u;
	return (mixed ^ (mixed >> 16)) * 0x85a3c2d7u;
}

static uint32_t bucket(const struct inode_table *table, uint32_t hash)
{
	return (hash ^ (hash >> 15)) & (table->buckets_count - 1);
}

static uint32_t content_bucket(const struct inode_table *table, enum slot_kind kind, const uint8_t *digest)
{
	uint32_t hash = mix(table->counters[SEED], kind), word;
	for (int at = 0; at < BLAKE3_BYTES; at += 4) {
		memcpy(&word, digest + at, 4);
		hash = mix(hash, word);
	}
	return bucket(table, hash);
}

static uint32_t place_bucket(const struct inode_table *table, double parent, uint32_t position)
{
	uint64_t number = parent;
	uint32_t hash = mix(mix(table->counters[SEED], (uint32_t)number), (uint32_t)(number >> 32));
	return bucket(table, mix(hash, position));
}

/* Programs take 0 for "no inode", and 1 is the root. */
static uint64_t salted(const uint8_t *digest, uint64_t salt)
{
	uint64_t ino;
	memcpy(&ino, digest, sizeof ino);
	ino ^= salt;
	return ino > 1 ? ino : ino + 2;
}

static uint64_t place_ino(uint64_t parent, const struct node *node)
{
	uint8_t place[8 + 255], digest[BLAKE3_BYTES];
	memcpy(place, &parent, 8);
	memcpy(place + 8, node->name, node->name_length);
	blake3(place, 8 + node->name_length, digest);
	return salted(digest, SALT_DIRECTORY);
}

static size_t allocate(struct inode_table *table)
{
	double *counters = table->counters;
	size_t slot = counters[DEAD];
	if (slot != 0)
		counters[DEAD] = table->next[slot];
	else if (counters[END] < table->capacity)
		slot = counters[END]++;
	else
		return 0;
	counters[COUNT]++;
	return slot;
}

static size_t add(struct inode_table *table, enum slot_kind kind, const struct node *node, const uint8_t *digest,
                  uint32_t in)
{
	size_t slot = allocate(table);
	if (slot == 0)
		return 0;
	table->kind[slot] = kind;
	table->size[slot] = node->size;
	memcpy(table->digests + slot * BLAKE3_BYTES, digest, BLAKE3_BYTES);
	table->next[slot] = table->buckets[in];
	table->buckets[in] = slot;
	return slot;
}

static size_t find_in_bucket(const struct inode_table *table, uint32_t in, double parent, uint32_t position)
{
	for (size_t slot = table->buckets[in]; slot != 0; slot = table->next[slot])
		if (table->kind[slot] == SLOT_DIRECTORY && table->parent[slot] == parent && table->position[slot] == position)
			return slot;
	return 0;
}

size_t find_place(const struct inode_table *table, size_t parent, uint32_t position)
{
	double number = number_of(table, parent);
	return find_in_bucket(table, place_bucket(table, number, position), number, position);
}

static size_t intern_directory(struct inode_table *table, const struct node *node, size_t parent, uint32_t position)
{
	double number = number_of(table, parent);
	uint32_t in = place_bucket(table, number, position);
	size_t known = find_in_bucket(table, in, number, position);
	if (known != 0)
		return known;
	size_t slot = add(table, SLOT_DIRECTORY, node, node->value, in);
	if (slot == 0)
		return 0;
	table->ino[slot] = place_ino(table->ino[parent], node);
	table->parent[slot] = number;
	table->position[slot] = position;
	return slot;
}

static size_t find_content(const struct inode_table *table, uint32_t in, enum slot_kind kind, uint64_t size,
                           const uint8_t *digest)
{
	for (size_t slot = table->buckets[in]; slot != 0; slot = table->next[slot])
		if (table->kind[slot] == kind && table->size[slot] == size &&
		    memcmp(table->digests + slot * BLAKE3_BYTES, digest, BLAKE3_BYTES) == 0)
			return slot;
	return 0;
}

static size_t intern_file(struct inode_table *table, const struct node *node, size_t parent)
{
	enum slot_kind kind = node->executable ? SLOT_EXECUTABLE : SLOT_FILE;
	uint32_t in = content_bucket(table, kind, node->value);
	size_t slot = find_content(table, in, kind, node->size, node->value);
	if (slot != 0)
		return slot;
	slot = add(table, kind, node, node->value, in);
	if (slot == 0)
		return 0;
	table->ino[slot] = salted(node->value, node->executable ? SALT_EXECUTABLE : 0);
	table->parent[slot] = number_of(table, parent);
	*table->file_bytes += node->size;
	return slot;
}

static size_t intern_symlink(struct inode_table *table, const struct node *node)
{
	uint8_t digest[BLAKE3_BYTES];
	blake3(node->value, node->value_length, digest);
	uint32_t in = content_bucket(table, SLOT_SYMLINK, digest);
	size_t slot = find_content(table, in, SLOT_SYMLINK, node->size, digest);
	if (slot != 0)
		return slot;
	double *counters = table->counters;
	if (counters[TARGETS_END] + node->value_length > table->targets_room)
		return 0;
	slot = add(table, SLOT_SYMLINK, node, digest, in);
	if (slot == 0)
		return 0;
	table->ino[slot] = salted(digest, SALT_SYMLINK);
	table->parent[slot] = counters[TARGETS_END];
	memcpy(table->targets + (size_t)counters[TARGETS_END], node->value, node->value_length);
	counters[TARGETS_END] += node->value_length;
	counters[TARGETS_LIVE] += node->value_length;
	return slot;
}

size_t intern(struct inode_table *table, const struct node *node, size_t parent, uint32_t position)
{
	if (node->kind == NODE_DIRECTORY)
		return intern_directory(table, node, parent, position);
	return node->kind == NODE_FILE ? intern_file(table, node, parent) : intern_symlink(table, node);
}
