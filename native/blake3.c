/*
 * BLAKE3 with the default key, of a whole message. The state of a compression is four rows of four words, each a
 * vector: GCC and Clang turn the operations on them into SSE2 or NEON. Little-endian hosts only, as the kernel's
 * structures in the other files.
 */
#include "blake3.h"

#include <stdbool.h>
#include <string.h>

#define BLOCK_BYTES 64
#define CHUNK_BYTES 1024
#define ROUNDS 7
/* Chunks whose chaining values are kept side by side: a power of two. */
#define LEAF_CHUNKS 64

enum flag { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

typedef uint32_t row __attribute__((vector_size(16)));
typedef uint32_t words8[8];

/* Compiled for processors with wider vectors as well, where the compiler can. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_X86_64
#define AVX2_OR_NOT __attribute__((target_clones("avx2", "default")))
#define AVX512 __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq")))
#else
#define AVX2_OR_NOT
#endif

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

/* Compresses one block into the chaining value `cv`. */
static inline __attribute__((always_inline)) void compress(words8 cv, const uint8_t block[BLOCK_BYTES],
                                                          uint64_t counter, uint32_t length, uint32_t flags)
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

/* Chaining value of one chunk: up to 1024 bytes, and none only when the whole message is empty. */
static inline __attribute__((always_inline)) void hash_one_chunk(const uint8_t *bytes, size_t length,
                                                                uint64_t counter, uint32_t root, words8 cv)
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
	memcpy(last, bytes, length);
	compress(cv, last, counter, (uint32_t)length, flags | CHUNK_END | root);
}

/* What messages that are hashed side by side have in common. */
struct layout {
	size_t blocks;
	uint32_t flags, first, last;
	/* Each has its own counter, or all have 0. */
	bool counts;
};

static const struct layout CHUNKS = {CHUNK_BYTES / BLOCK_BYTES, 0, CHUNK_START, CHUNK_END, true};
static const struct layout PARENTS = {1, PARENT, 0, 0, false};

AVX2_OR_NOT
static void hash_chunk_8(const uint8_t *bytes, size_t length, uint64_t counter, uint32_t root, words8 cv)
{
	hash_one_chunk(bytes, length, counter, root, cv);
}

#define LANES 8
#define LANES_TARGET AVX2_OR_NOT
#include "blake3_lanes.h"

#ifdef FOR_X86_64
AVX512
static void hash_chunk_16(const uint8_t *bytes, size_t length, uint64_t counter, uint32_t root, words8 cv)
{
	hash_one_chunk(bytes, length, counter, root, cv);
}

#define LANES 16
#define LANES_TARGET AVX512
#include "blake3_lanes.h"
#endif

static bool has_avx512(void)
{
#ifdef FOR_X86_64
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#else
	return false;
#endif
}

#ifndef FOR_X86_64
#define hash_chunk_16 hash_chunk_8
#define hash_lanes_16 hash_lanes_8
#endif

static void hash_chunk(const uint8_t *bytes, size_t length, uint64_t counter, uint32_t root, words8 cv)
{
	(has_avx512() ? hash_chunk_16 : hash_chunk_8)(bytes, length, counter, root, cv);
}

/* Chaining values of any number of messages that follow each other; `counter`: of the first. */
static void hash_side_by_side(const uint8_t *messages, size_t count, struct layout layout, uint64_t counter,
                              words8 *cvs)
{
	size_t lanes = has_avx512() ? 16 : 8;
	while (count > 0) {
		size_t now = count < lanes ? count : lanes;
		(lanes == 16 ? hash_lanes_16 : hash_lanes_8)(messages, now, layout, counter, cvs);
		messages += now * layout.blocks * BLOCK_BYTES;
		counter += now;
		cvs += now;
		count -= now;
	}
}

/* Chaining values of the chunks of a message; returns how many there are. A vector costs as much as two chunks alone. */
static size_t hash_all_chunks(const uint8_t *bytes, size_t length, uint64_t counter, words8 *cvs)
{
	size_t full = length / CHUNK_BYTES, rest = length % CHUNK_BYTES, done = 0;
	if (full > 2)
		hash_side_by_side(bytes, done = full, CHUNKS, counter, cvs);
	for (; done < full; done++)
		hash_chunk(bytes + done * CHUNK_BYTES, CHUNK_BYTES, counter + done, 0, cvs[done]);
	if (rest > 0)
		hash_chunk(bytes + length - rest, rest, counter + full, 0, cvs[full]);
	return full + (rest > 0);
}

/* Pairs become their parents, and one that is left over waits for the next level (§2.1); returns how many there are now. */
static size_t hash_pairs(words8 *cvs, size_t count)
{
	words8 parents[LEAF_CHUNKS / 2];
	hash_side_by_side((const uint8_t *)cvs, count / 2, PARENTS, 0, parents);
	if (count % 2 == 1)
		memmove(cvs[count / 2], cvs[count - 1], sizeof(words8));
	memcpy(cvs, parents, count / 2 * sizeof(words8));
	return count / 2 + count % 2;
}

/* `counter`: of the first chunk, when the message is the part of another; `root`: ROOT unless it is. */
static void hash_message(const uint8_t *bytes, size_t length, uint64_t counter, uint32_t root, words8 cv)
{
	words8 cvs[LEAF_CHUNKS];
	if (length <= CHUNK_BYTES) {
		hash_chunk(bytes, length, counter, root, cv);
		return;
	}
	if (length <= LEAF_CHUNKS * CHUNK_BYTES) {
		for (size_t count = hash_all_chunks(bytes, length, counter, cvs); count > 2;)
			count = hash_pairs(cvs, count);
	} else {
		/* The left part is the largest power of two of chunks that leaves something to the right. */
		size_t left = LEAF_CHUNKS;
		while (left * 2 * CHUNK_BYTES < length)
			left *= 2;
		hash_message(bytes, left * CHUNK_BYTES, counter, 0, cvs[0]);
		hash_message(bytes + left * CHUNK_BYTES, length - left * CHUNK_BYTES, counter + left, 0, cvs[1]);
	}
	memcpy(cv, IV, sizeof(words8));
	compress(cv, (const uint8_t *)cvs, 0, BLOCK_BYTES, PARENT | root);
}

void blake3(const uint8_t *message, size_t length, uint8_t digest[BLAKE3_BYTES])
{
	words8 cv;
	hash_message(message, length, 0, ROOT, cv);
	memcpy(digest, cv, BLAKE3_BYTES);
}
