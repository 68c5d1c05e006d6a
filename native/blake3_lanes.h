/*
 * BLAKE3 of LANES messages side by side, a lane of each vector for each message; blake3.c includes this once for each width.
 * No header guard: LANES differs.
 */
#define NAME_(name, lanes) name##_##lanes
#define NAME(name, lanes) NAME_(name, lanes)
#define VECTOR NAME(vector, LANES)

typedef uint32_t VECTOR __attribute__((vector_size(4 * LANES)));

#define ALL(word) ((VECTOR){0} + (word))

/* Element j of row i becomes element i of row j: the corners of 2 × 2 squares change places, then of larger ones. */
#define SWAP_CORNERS(rows, distance)                                                                              \
	do {                                                                                                      \
		VECTOR above, below;                                                                              \
		for (int j = 0; j < LANES; j++) {                                                                 \
			above[j] = j & (distance) ? LANES + j - (distance) : j;                                   \
			below[j] = j & (distance) ? LANES + j : j + (distance);                                   \
		}                                                                                                 \
		for (int i = 0; i < LANES; i++) {                                                                 \
			if (i & (distance))                                                                       \
				continue;                                                                         \
			VECTOR a = (rows)[i], b = (rows)[i + (distance)];                                         \
			(rows)[i] = __builtin_shuffle(a, b, above);                                               \
			(rows)[i + (distance)] = __builtin_shuffle(a, b, below);                                  \
		}                                                                                                 \
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

/* Chaining values of up to LANES messages that follow each other. Lanes that are not needed repeat the first. */
LANES_TARGET
static void NAME(hash_lanes, LANES)(const uint8_t *messages, size_t count, struct layout layout, uint64_t counter,
                                    words8 *cvs)
{
	VECTOR cv[8], v[16] = {{0}}, m[16];
	size_t bytes = layout.blocks * BLOCK_BYTES;
	for (int i = 0; i < 8; i++)
		cv[i] = ALL(IV[i]);
	for (size_t block = 0; block < layout.blocks; block++) {
		uint32_t flags = layout.flags | (block == 0 ? layout.first : 0) |
		                 (block == layout.blocks - 1 ? layout.last : 0);
		for (int words = 0; words < 16; words += LANES) {
			for (size_t lane = 0; lane < LANES; lane++)
				memcpy(&m[words + lane],
				       messages + (lane < count ? lane : 0) * bytes + block * BLOCK_BYTES + 4 * words,
				       sizeof m[0]);
			SWAP_CORNERS(m + words, 1);
			SWAP_CORNERS(m + words, 2);
			SWAP_CORNERS(m + words, 4);
#if LANES == 16
			SWAP_CORNERS(m + words, 8);
#endif
		}
		for (int i = 0; i < 8; i++)
			v[i] = cv[i];
		for (int i = 0; i < 4; i++)
			v[8 + i] = ALL(IV[i]);
		for (int lane = 0; lane < LANES; lane++) {
			uint64_t number = layout.counts ? counter + lane : 0;
			v[12][lane] = (uint32_t)number;
			v[13][lane] = (uint32_t)(number >> 32);
		}
		v[14] = ALL(BLOCK_BYTES);
		v[15] = ALL(flags);
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
	for (size_t lane = 0; lane < count; lane++)
		for (int i = 0; i < 8; i++)
			cvs[lane][i] = cv[i][lane];
}

#undef NAME_
#undef NAME
#undef VECTOR
#undef ALL
#undef SWAP_CORNERS
#undef LANE_ROTATE
#undef LANE_MIX
#undef LANES
#undef LANES_TARGET
