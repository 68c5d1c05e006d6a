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

enum flag { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

#define LANES 8

typedef uint32_t row __attribute__((vector_size(16)));
typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));
typedef uint32_t words8[8];

/* Compiled for processors with wide vectors as well; the loader picks. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_THIS_PROCESSOR __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define FOR_THIS_PROCESSOR
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

#define all(word) ((lanes){0} + (word))

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

/* Chaining value of one chunk: up to 1024 bytes, and none only when the whole message is empty. */
static void hash_chunk(const uint8_t *bytes, size_t length, uint64_t counter, uint32_t root, words8 cv)
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


/* Chaining values of `LANES` full chunks at once, a lane of each vector for each chunk. */
FOR_THIS_PROCESSOR
static void hash_chunks(const uint8_t *const chunks[LANES], uint64_t counter, words8 cvs[LANES])
{
	lanes cv[8], v[16];
	union {
		lanes vectors[16];
		uint32_t words[16][LANES];
	} block_words;
	const lanes *m = block_words.vectors;
	for (int i = 0; i < 8; i++)
		cv[i] = all(IV[i]);
	for (int block = 0; block < CHUNK_BYTES / BLOCK_BYTES; block++) {
		bool first = block == 0, last = block == CHUNK_BYTES / BLOCK_BYTES - 1;
		for (int lane = 0; lane < LANES; lane++)
			for (int i = 0; i < 16; i++)
				memcpy(&block_words.words[i][lane], chunks[lane] + block * BLOCK_BYTES + 4 * i, 4);
		for (int i = 0; i < 8; i++)
			v[i] = cv[i];
		for (int i = 0; i < 4; i++)
			v[8 + i] = all(IV[i]);
		for (int lane = 0; lane < LANES; lane++) {
			v[12][lane] = (uint32_t)(counter + lane);
			v[13][lane] = (uint32_t)((counter + lane) >> 32);
		}
		v[14] = all(BLOCK_BYTES);
		v[15] = all((first ? CHUNK_START : 0) | (last ? CHUNK_END : 0));
#pragma GCC unroll 7
		for (int round = 0; round < ROUNDS; round++) {
			const uint8_t *order = SCHEDULE[round];
			LANE_MIX(0, 4, 8, 12, m[order[0]], m[order[1]]);
			LANE_MIX(1, 5, 9, 13, m[order[2]], m[order[3]]);
			LANE_MIX(2, 6, 10, 14, m[order[4]], m[order[5]]);
			LANE_MIX(3, 7, 11, 15, m[order[6]], m[order[7]]);
			LANE_MIX(0, 5, 10, 15, m[order[8]], m[order[9]]);
			LANE_MIX(1, 6, 11, 12, m[order[10]], m[order[11]]);
			LANE_MIX(2, 7, 8, 13, m[order[12]], m[order[13]]);
			LANE_MIX(3, 4, 9, 14, m[order[14]], m[order[15]]);
		}
		for (int i = 0; i < 8; i++)
			cv[i] = v[i] ^ v[8 + i];
	}
	for (int lane = 0; lane < LANES; lane++)
		for (int i = 0; i < 8; i++)
			cvs[lane][i] = cv[i][lane];
}

/* Eight lanes cost as much as two chunks alone. Lanes that are not needed repeat the first chunk. */
static void hash_full_chunks(const uint8_t *bytes, size_t count, words8 *cvs)
{
	for (size_t done = 0; done < count;) {
		size_t now = count - done < LANES ? count - done : LANES;
		if (now <= 2) {
			hash_chunk(bytes + done * CHUNK_BYTES, CHUNK_BYTES, done, 0, cvs[done]);
			done++;
			continue;
		}
		const uint8_t *chunks[LANES];
		words8 hashed[LANES];
		for (size_t lane = 0; lane < LANES; lane++)
			chunks[lane] = bytes + (done + (lane < now ? lane : 0)) * CHUNK_BYTES;
		hash_chunks(chunks, done, hashed);
		memcpy(cvs + done, hashed, now * sizeof(words8));
		done += now;
	}
}

/* The left subtree is the largest power of two of chunks that leaves something to the right (§2.1). */
static void hash_parents(const words8 *cvs, size_t count, uint32_t root, words8 cv)
{
	if (count == 1) {
		memcpy(cv, cvs[0], sizeof(words8));
		return;
	}
	size_t left = 1;
	while (left * 2 < count)
		left *= 2;
	words8 children[2];
	hash_parents(cvs, left, 0, children[0]);
	hash_parents(cvs + left, count - left, 0, children[1]);
	memcpy(cv, IV, sizeof(words8));
	compress(cv, (const uint8_t *)children, 0, BLOCK_BYTES, PARENT | root);
}

void blake3(const uint8_t *message, size_t length, uint8_t digest[BLAKE3_BYTES])
{
	words8 cvs[BLAKE3_MESSAGE_MAX / CHUNK_BYTES], cv;
	if (length <= CHUNK_BYTES) {
		hash_chunk(message, length, 0, ROOT, cv);
	} else {
		size_t full = length / CHUNK_BYTES, rest = length % CHUNK_BYTES;
		hash_full_chunks(message, full, cvs);
		if (rest > 0)
			hash_chunk(message + length - rest, rest, full, 0, cvs[full]);
		hash_parents(cvs, full + (rest > 0), ROOT, cv);
	}
	memcpy(digest, cv, BLAKE3_BYTES);
}
