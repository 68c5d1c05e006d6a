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

void blake3_chunk(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv)
{
	uint32_t flags = CHUNK_START;
	memcpy(cv, IV, sizeof(words8));
	while (length > BLOCK_BYTES) {
		compress(cv, bytes, counter, BLOCK_BYTES, flags);
		bytes += BLOCK_BYTES;
		length -= BLOCK_BYTES;
		flags = 0;
	}
	uint8_t last[BLOCK_BYTES] = {0};
	/* An empty message may be nowhere. */
	if (length > 0)
		memcpy(last, bytes, length);
	compress(cv, last, counter, (uint32_t)length, flags | CHUNK_END | position);
}

/* What is hashed side by side. */
struct shape {
	int blocks;
	uint32_t bytes;
	/* From the counter of one to that of the next. */
	uint32_t step;
	/* Flags of the first block and of the last. */
	uint32_t first, last;
};

static const struct shape FULL_CHUNKS = {CHUNK_BYTES / BLOCK_BYTES, CHUNK_BYTES, 1, CHUNK_START, CHUNK_END};
static const struct shape PARENTS = {1, BLOCK_BYTES, 0, PARENT, 0};

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

#define LANES_MAX 16

struct hasher {
	void (*hash)(const uint8_t *const inputs[], const struct shape *shape, uint64_t counter, words8 cvs[]);
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

static void hash_alone(const uint8_t *input, const struct shape *shape, uint64_t counter, words8 cv)
{
	memcpy(cv, IV, sizeof(words8));
	for (int block = 0; block < shape->blocks; block++) {
		bool first = block == 0, last = block == shape->blocks - 1;
		compress(cv, input + block * BLOCK_BYTES, counter, BLOCK_BYTES,
		         (first ? shape->first : 0) | (last ? shape->last : 0));
	}
}

/*
 * Chaining values of what lies one behind the other; they may take the place of the first inputs. All lanes cost as much
 * as two alone. Those that are not needed repeat the first.
 */
static void hash_all(const uint8_t *bytes, size_t count, const struct shape *shape, uint64_t counter, words8 *cvs)
{
	struct hasher hasher = widest();
	for (size_t done = 0; done < count;) {
		const uint8_t *begin = bytes + done * shape->bytes, *inputs[LANES_MAX];
		size_t now = count - done < hasher.lanes ? count - done : hasher.lanes;
		words8 hashed[LANES_MAX];
		if (now <= 2) {
			now = 1;
			hash_alone(begin, shape, counter + done * shape->step, hashed[0]);
		} else {
			for (size_t lane = 0; lane < hasher.lanes; lane++)
				inputs[lane] = begin + (lane < now ? lane : 0) * shape->bytes;
			hasher.hash(inputs, shape, counter + done * shape->step, hashed);
		}
		memcpy(cvs + done, hashed, now * sizeof(words8));
		done += now;
	}
}

void blake3_parent(const words8 children[2], enum blake3_position position, words8 cv)
{
	words8 parent;
	memcpy(parent, IV, sizeof parent);
	compress(parent, (const uint8_t *)children, 0, BLOCK_BYTES, PARENT | position);
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

/* Each level takes the place of the one below; who has no neighbour to the right goes up alone. */
static void hash_parents(words8 *cvs, size_t count, enum blake3_position position, words8 cv)
{
	for (; count > 2; count = (count + 1) / 2) {
		hash_all((const uint8_t *)cvs, count / 2, &PARENTS, 0, cvs);
		if (count % 2 == 1)
			memcpy(cvs[count / 2], cvs[count - 1], sizeof(words8));
	}
	if (count == 2)
		blake3_parent(cvs, position, cv);
	else
		memcpy(cv, cvs[0], sizeof(words8));
}

/* Chunks of which the chaining values are kept at a time. */
#define SUBTREE_CHUNKS 64

void blake3_subtree(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv)
{
	size_t full = length / CHUNK_BYTES, rest = length % CHUNK_BYTES, count = full + (rest > 0);
	if (count > SUBTREE_CHUNKS) {
		size_t left = left_of(count);
		words8 children[2];
		blake3_subtree(bytes, left * CHUNK_BYTES, counter, 0, children[0]);
		blake3_subtree(bytes + left * CHUNK_BYTES, length - left * CHUNK_BYTES, counter + left, 0, children[1]);
		blake3_parent(children, position, cv);
		return;
	}
	words8 cvs[SUBTREE_CHUNKS];
	hash_all(bytes, full, &FULL_CHUNKS, counter, cvs);
	if (rest > 0)
		blake3_chunk(bytes + full * CHUNK_BYTES, rest, counter + full, 0, cvs[full]);
	hash_parents(cvs, count, position, cv);
}

void blake3(const uint8_t *message, size_t length, uint8_t digest[BLAKE3_BYTES])
{
	words8 cv;
	if (length <= CHUNK_BYTES)
		blake3_chunk(message, length, 0, BLAKE3_ROOT, cv);
	else
		blake3_subtree(message, length, 0, BLAKE3_ROOT, cv);
	memcpy(digest, cv, BLAKE3_BYTES);
}
