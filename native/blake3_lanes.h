/*
 * Included by blake3.c once for each width: LANES chunks, or parents, are hashed at once, a lane of each vector for each.
 * LANES is a power of two up to 16, LANES_NAME the function, LANES_TARGET for which processors it is compiled.
 */
#define LANES_PASTE(a, b) a##b
#define LANES_JOIN(a, b) LANES_PASTE(a, b)
#define lanes LANES_JOIN(lanes, LANES)
#define transpose LANES_JOIN(transpose, LANES)

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

#define FIRST(i, width) ((i) & (width) ? LANES + (i) - (width) : (i))
#define SECOND(i, width) ((i) & (width) ? LANES + (i) : (i) + (width))
#define ALL4(of, w) of(0, w), of(1, w), of(2, w), of(3, w)
#define ALL8(of, w) ALL4(of, w), of(4, w), of(5, w), of(6, w), of(7, w)
#define ALL16(of, w) ALL8(of, w), of(8, w), of(9, w), of(10, w), of(11, w), of(12, w), of(13, w), of(14, w), of(15, w)
#define ALL LANES_JOIN(ALL, LANES)

/* Parts of `width` change places between vectors that are `width` apart. */
#define EXCHANGE(v, width)                                                                                        \
	_Pragma("GCC unroll 16") for (int i = 0; i < LANES; i++) if (!(i & (width)))                              \
	{                                                                                                         \
		lanes a = v[i], b = v[i + (width)];                                                               \
		v[i] = __builtin_shuffle(a, b, (lanes){ALL(FIRST, width)});                                       \
		v[i + (width)] = __builtin_shuffle(a, b, (lanes){ALL(SECOND, width)});                            \
	}

/* What lay in one vector for each chunk lies in one for each word then. */
LANES_TARGET
static inline void transpose(lanes v[LANES])
{
#if LANES > 8
	EXCHANGE(v, 8)
#endif
#if LANES > 4
	EXCHANGE(v, 4)
#endif
	EXCHANGE(v, 2)
	EXCHANGE(v, 1)
}

/* Chaining values of what begins at each of `inputs`. */
LANES_TARGET
static void LANES_NAME(const uint8_t *const inputs[], const struct shape *shape, uint64_t counter, words8 cvs[])
{
	lanes cv[8], v[16], m[16];
	lanes counter_low = {0}, counter_high = {0};
	for (int i = 0; i < 8; i++)
		cv[i] = (lanes){0} + IV[i];
	for (int lane = 0; lane < LANES; lane++) {
		counter_low[lane] = (uint32_t)(counter + lane * shape->step);
		counter_high[lane] = (uint32_t)((counter + lane * shape->step) >> 32);
	}
	for (int block = 0; block < shape->blocks; block++) {
		bool first = block == 0, last = block == shape->blocks - 1;
		for (int part = 0; part < 16; part += LANES) {
			for (int lane = 0; lane < LANES; lane++) {
				memcpy(&m[part + lane], inputs[lane] + block * BLOCK_BYTES + 4 * part, sizeof(lanes));
				/* What comes next: so many streams at once are more than processors foresee. */
				if (part == 0)
					__builtin_prefetch(inputs[lane] + LANES * shape->bytes + block * BLOCK_BYTES);
			}
			transpose(m + part);
		}
		for (int i = 0; i < 8; i++)
			v[i] = cv[i];
		for (int i = 0; i < 4; i++)
			v[8 + i] = (lanes){0} + IV[i];
		v[12] = counter_low;
		v[13] = counter_high;
		v[14] = (lanes){0} + BLOCK_BYTES;
		v[15] = (lanes){0} + ((first ? shape->first : 0) | (last ? shape->last : 0));
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

#undef lanes
#undef FIRST
#undef SECOND
#undef ALL4
#undef ALL8
#undef ALL16
#undef ALL
#undef EXCHANGE
#undef transpose
#undef LANES_PASTE
#undef LANES_JOIN
#undef LANES
#undef LANES_NAME
#undef LANES_TARGET
