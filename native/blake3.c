/*
 * BLAKE3 with the default key, of a whole message. The state of a compression is four rows of four words, each a
 * vector: GCC and Clang turn the operations on them into SSE2 or NEON. Little-endian hosts only, as the kernel's
 * structures in the other files.
 */
#include "blake3.h"

#include "blake3_tree.h"

#include <stdbool.h>
#include <string.h>

#define BLOCK_BYTES 64
#define CHUNK_BYTES BLAKE3_CHUNK_BYTES
#define ROUNDS 7

enum flag { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4 };

typedef uint32_t row __attribute__((vector_size(16)));

static const words8 IV = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                          0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* The order in which each round takes the words of the block: the permutation of §2.2, applied again and again. */
static const uint8_t SCHEDULE[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4},
    {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

static inline row rotate_right(row value, int bits)
{
	return (value >> bits) | (value << (32 - bits));
}

static inline row pick(const uint32_t m[16], const uint8_t *order)
{
	return (row){m[order[0]], m[order[2]], m[order[4]], m[order[6]]};
}

#define MIX(mx, my)                                                                                               \
	do {                                                                                                      \
		a += b + (mx);                                                                                    \
		d = rotate_right(d ^ a, 16);                                                                      \
		c += d;                                                                                           \
		b = rotate_right(b ^ c, 12);                                                                      \
		a += b + (my);                                                                                    \
		d = rotate_right(d ^ a, 8);                                                                       \
		c += d;                                                                                           \
		b = rotate_right(b ^ c, 7);                                                                       \
	} while (0)

#define LANE_ROTATE(value, bits) (((value) >> (bits)) | ((value) << (32 - (bits))))

#define LANE_MIX(a, b, c, d, mx, my)                                                                              \
	do {                                                                                                      \
		v[a] += v[b] + (mx);                                                                              \
		v[d] = LANE_ROTATE(v[d] ^ v[a], 16);                                                              \
		v[c] += v[d];                                                                                     \
		v[b] = LANE_ROTATE(v[b] ^ v[c], 12);                                                              \
		v[a] += v[b] + (my);                                                                              \
		v[d] = LANE_ROTATE(v[d] ^ v[a], 8);                                                               \
		v[c] += v[d];                                                                                     \
		v[b] = LANE_ROTATE(v[b] ^ v[c], 7);                                                               \
	} while (0)

/* Compresses one block into the chaining value `cv`. */
static void compress(words8 cv, const uint8_t block[BLOCK_BYTES], uint64_t counter, uint32_t length, uint32_t flags)
{
	uint32_t m[16];
	memcpy(m, block, BLOCK_BYTES);
	row a = {cv[0], cv[1], cv[2], cv[3]};
	row b = {cv[4], cv[5], cv[6], cv[7]};
	row c = {IV[0], IV[1], IV[2], IV[3]};
	row d = {(uint32_t)counter, (uint32_t)(counter >> 32), length, flags};
	for (int round = 0; round < ROUNDS; round++) {
		const uint8_t *order = SCHEDULE[round];
		MIX(pick(m, order), pick(m, order + 1));
		b = __builtin_shuffle(b, (row){1, 2, 3, 0});
		c = __builtin_shuffle(c, (row){2, 3, 0, 1});
		d = __builtin_shuffle(d, (row){3, 0, 1, 2});
		MIX(pick(m, order + 8), pick(m, order + 9));
		b = __builtin_shuffle(b, (row){3, 0, 1, 2});
		c = __builtin_shuffle(c, (row){2, 3, 0, 1});
		d = __builtin_shuffle(d, (row){1, 2, 3, 0});
	}
	a ^= c;
	b ^= d;
	memcpy(cv, &a, sizeof a);
	memcpy(cv + 4, &b, sizeof b);
}

/* What is hashed beside others: a chunk or a parent. */
struct part {
	const uint8_t *bytes;
	uint64_t counter;
	/* Up to CHUNK_BYTES. */
	uint32_t length;
	/* Flags of the first block and of the last. */
	uint16_t first, last;
};

static struct part chunk_part(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position)
{
	return (struct part){bytes, counter, (uint32_t)length, CHUNK_START, CHUNK_END | position};
}

static struct part parent_part(const words8 children[2], enum blake3_position position)
{
	return (struct part){(const uint8_t *)children, 0, BLOCK_BYTES, PARENT | position, 0};
}

static uint32_t blocks_of(const struct part *part)
{
	return part->length == 0 ? 1 : (part->length + BLOCK_BYTES - 1) / BLOCK_BYTES;
}

/* The last block, to where zeros are; how long it is. */
static uint32_t copy_end(const struct part *part, uint8_t end[BLOCK_BYTES])
{
	uint32_t before = (blocks_of(part) - 1) * BLOCK_BYTES, length = part->length - before;
	/* An empty message may be nowhere. */
	if (length > 0)
		memcpy(end, part->bytes + before, length);
	return length;
}

static void hash_alone(const struct part *part, words8 cv)
{
	uint8_t end[BLOCK_BYTES] = {0};
	uint32_t length = copy_end(part, end), last = blocks_of(part) - 1;
	memcpy(cv, IV, sizeof(words8));
	for (uint32_t block = 0; block < last; block++)
		compress(cv, part->bytes + block * BLOCK_BYTES, part->counter, BLOCK_BYTES, block == 0 ? part->first : 0);
	compress(cv, end, part->counter, length, (last == 0 ? part->first : 0) | part->last);
}

/* Compiled for processors with wide vectors as well; the widest that this one has is asked for once. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE_VECTORS
#define LANES 16
#define LANES_NAME hash_avx512
#define LANES_TARGET __attribute__((target("avx512f,avx512vl")))
#include "blake3_lanes.h"
#define LANES 8
#define LANES_NAME hash_avx2
#define LANES_TARGET __attribute__((target("avx2")))
#include "blake3_lanes.h"
#endif
#define LANES 4
#define LANES_NAME hash_any
#define LANES_TARGET
#include "blake3_lanes.h"

struct hasher {
	void (*hash)(const struct part *parts, size_t count, words8 cvs[]);
	size_t lanes;
};

static struct hasher widest(void)
{
#ifdef WIDE_VECTORS
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
		return (struct hasher){hash_avx512, 16};
	if (__builtin_cpu_supports("avx2"))
		return (struct hasher){hash_avx2, 8};
#endif
	return (struct hasher){hash_any, 4};
}

/* All lanes cost as much as two parts alone. */
static void hash_parts(const struct part *parts, size_t count, words8 *cvs)
{
	struct hasher hasher = widest();
	for (size_t done = 0, now; done < count; done += now) {
		now = count - done < hasher.lanes ? count - done : hasher.lanes;
		if (now > 2)
			hasher.hash(parts + done, now, cvs + done);
		else
			for (size_t i = done; i < count; i++)
				hash_alone(parts + i, cvs[i]);
	}
}

void blake3_chunk(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv)
{
	struct part part = chunk_part(bytes, length, counter, position);
	hash_alone(&part, cv);
}

void blake3_parent(const words8 children[2], enum blake3_position position, words8 cv)
{
	words8 parent;
	struct part part = parent_part(children, position);
	hash_alone(&part, parent);
	memcpy(cv, parent, sizeof parent);
}

/* The left subtree is the largest power of two of chunks that leaves something to the right (§2.1). */
static size_t left_of(size_t count)
{
	size_t left = 1;
	while (left * 2 < count)
		left *= 2;
	return left;
}

static size_t chunks_of(size_t length)
{
	return length == 0 ? 1 : (length + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

/* Chunks that are hashed side by side, and of which the chaining values are kept. */
#define GROUP_CHUNKS 128

/* A message, or a subtree, whose chunks are in the group; `cvs` is where the chaining values of it begin. */
struct tree {
	size_t count;
	words8 *cvs;
	enum blake3_position position;
};

/*
 * One level of all trees at a time takes the place of the one below, until each has one chaining value; who has no
 * neighbour to the right goes up alone.
 */
static void hash_parents(struct tree *trees, size_t count)
{
	for (;;) {
		struct part parts[GROUP_CHUNKS / 2];
		words8 hashed[GROUP_CHUNKS / 2];
		size_t length = 0, next = 0;
		for (struct tree *tree = trees; tree < trees + count; tree++)
			for (size_t i = 0; i + 1 < tree->count; i += 2)
				parts[length++] = parent_part(tree->cvs + i, tree->count == 2 ? tree->position : BLAKE3_INNER);
		if (length == 0)
			return;
		hash_parts(parts, length, hashed);
		for (struct tree *tree = trees; tree < trees + count; tree++) {
			size_t pairs = tree->count / 2;
			words8 *left_over = tree->cvs + tree->count - 1;
			memcpy(tree->cvs, hashed + next, pairs * sizeof(words8));
			next += pairs;
			if (tree->count % 2 == 1)
				memcpy(tree->cvs[pairs], *left_over, sizeof(words8));
			tree->count -= pairs;
		}
	}
}

static size_t add_chunks(struct part *parts, const uint8_t *bytes, size_t length, uint64_t counter,
                         enum blake3_position position)
{
	size_t count = chunks_of(length);
	for (size_t i = 0; i < count; i++) {
		size_t begin = i * CHUNK_BYTES, left = length - begin;
		parts[i] = chunk_part(bytes + begin, left < CHUNK_BYTES ? left : CHUNK_BYTES, counter + i,
		                      count == 1 ? position : BLAKE3_INNER);
	}
	return count;
}

void blake3_subtree(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv)
{
	size_t count = chunks_of(length);
	if (count > GROUP_CHUNKS) {
		size_t left = left_of(count);
		words8 children[2];
		blake3_subtree(bytes, left * CHUNK_BYTES, counter, 0, children[0]);
		blake3_subtree(bytes + left * CHUNK_BYTES, length - left * CHUNK_BYTES, counter + left, 0, children[1]);
		blake3_parent(children, position, cv);
		return;
	}
	struct part parts[GROUP_CHUNKS];
	words8 cvs[GROUP_CHUNKS];
	struct tree tree = {add_chunks(parts, bytes, length, counter, position), cvs, position};
	hash_parts(parts, tree.count, cvs);
	hash_parents(&tree, 1);
	memcpy(cv, cvs[0], sizeof(words8));
}

void blake3(const uint8_t *message, size_t length, uint8_t digest[BLAKE3_BYTES])
{
	words8 cv;
	blake3_subtree(message, length, 0, BLAKE3_ROOT, cv);
	memcpy(digest, cv, BLAKE3_BYTES);
}

/* The longest first, so that those that are hashed side by side end together. `cvs[i]` is of `parts[i]`. */
static void hash_by_length(const struct part *parts, size_t count, words8 *cvs)
{
	struct part sorted[GROUP_CHUNKS];
	words8 hashed[GROUP_CHUNKS];
	size_t places[GROUP_CHUNKS], begins[CHUNK_BYTES / BLOCK_BYTES + 1] = {0}, begin = 0;
	for (size_t i = 0; i < count; i++)
		begins[blocks_of(parts + i)]++;
	for (size_t blocks = CHUNK_BYTES / BLOCK_BYTES; blocks > 0; blocks--) {
		size_t now = begins[blocks];
		begins[blocks] = begin;
		begin += now;
	}
	for (size_t i = 0; i < count; i++) {
		places[i] = begins[blocks_of(parts + i)]++;
		sorted[places[i]] = parts[i];
	}
	hash_parts(sorted, count, hashed);
	for (size_t i = 0; i < count; i++)
		memcpy(cvs[i], hashed[places[i]], sizeof(words8));
}

/* As many of the messages as a group takes; how many. */
static size_t hash_group(const struct blake3_message *messages, size_t count)
{
	struct part parts[GROUP_CHUNKS];
	words8 cvs[GROUP_CHUNKS];
	struct tree trees[GROUP_CHUNKS];
	size_t chunks = 0, taken = 0;
	for (; taken < count && chunks + chunks_of(messages[taken].length) <= GROUP_CHUNKS; taken++) {
		const struct blake3_message *message = messages + taken;
		size_t own = add_chunks(parts + chunks, message->bytes, message->length, 0, BLAKE3_ROOT);
		trees[taken] = (struct tree){own, cvs + chunks, BLAKE3_ROOT};
		chunks += own;
	}
	hash_by_length(parts, chunks, cvs);
	hash_parents(trees, taken);
	for (size_t i = 0; i < taken; i++)
		memcpy(messages[i].digest, trees[i].cvs[0], BLAKE3_BYTES);
	return taken;
}

void blake3_many(const struct blake3_message *messages, size_t count)
{
	for (size_t done = 0; done < count;) {
		const struct blake3_message *message = messages + done;
		if (chunks_of(message->length) > GROUP_CHUNKS) {
			blake3(message->bytes, message->length, message->digest);
			done++;
		} else {
			done += hash_group(message, count - done);
		}
	}
}
