/*
 * Included by blake3.c once for each width: LANES parts are hashed at once, a lane of each vector for each.
 * LANES is a power of two up to 16, LANES_NAME the function, LANES_TARGET for which processors it is compiled.
 */
#define LANES_PASTE(a, b) a##b
#define LANES_JOIN(a, b) LANES_PASTE(a, b)
#define lanes LANES_JOIN(lanes, LANES)
#define transpose LANES_JOIN(transpose, LANES)

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

#define LOADED(words) (*(const lanes *)(words))

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

/* Chaining values of up to LANES parts. Those that end before the longest keep theirs; a lane without a part repeats the first. */
LANES_TARGET
static void LANES_NAME(const struct part *parts, size_t count, words8 cvs[])
{
	lanes cv[8], v[16], m[16];
	/* Last blocks that are not full. */
	uint8_t ends[LANES][BLOCK_BYTES] = {0};
	const uint8_t *bytes[LANES];
	uint32_t most = 0;
	_Alignas(lanes) uint32_t full[LANES], blocks[LANES], lengths[LANES], first[LANES], last[LANES], low[LANES], high[LANES];
	for (int lane = 0; lane < LANES; lane++) {
		const struct part *part = parts + ((size_t)lane < count ? lane : 0);
		bytes[lane] = part->bytes;
		full[lane] = part->length / BLOCK_BYTES;
		blocks[lane] = blocks_of(part);
		lengths[lane] = part->length - (blocks[lane] - 1) * BLOCK_BYTES;
		if (full[lane] < blocks[lane])
			copy_end(part, ends[lane]);
		first[lane] = part->first;
		last[lane] = part->last;
		low[lane] = (uint32_t)part->counter;
		high[lane] = (uint32_t)(part->counter >> 32);
		most = blocks[lane] > most ? blocks[lane] : most;
	}
	for (int i = 0; i < 8; i++)
		cv[i] = (lanes){0} + IV[i];
	for (uint32_t block = 0; block < most; block++) {
		for (int lane = 0; lane < LANES; lane++) {
			const uint8_t *from = block < full[lane] ? bytes[lane] + block * BLOCK_BYTES : ends[lane];
			for (int begin = 0; begin < 16; begin += LANES)
				memcpy(&m[begin + lane], from + 4 * begin, sizeof(lanes));
			/* Of what follows in a long message. So many places at once are more than processors foresee. */
			__builtin_prefetch(from + LANES * CHUNK_BYTES);
		}
		for (int begin = 0; begin < 16; begin += LANES)
			transpose(m + begin);
		lanes is_last = (lanes)(LOADED(blocks) == block + 1), is_over = (lanes)(LOADED(blocks) <= block);
		for (int i = 0; i < 8; i++)
			v[i] = cv[i];
		for (int i = 0; i < 4; i++)
			v[8 + i] = (lanes){0} + IV[i];
		v[12] = LOADED(low);
		v[13] = LOADED(high);
		v[14] = (BLOCK_BYTES & ~is_last) | (LOADED(lengths) & is_last);
		v[15] = (LOADED(last) & is_last) | (block == 0 ? LOADED(first) : (lanes){0});
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
			cv[i] = (cv[i] & is_over) | ((v[i] ^ v[8 + i]) & ~is_over);
	}
	for (size_t lane = 0; lane < count; lane++)
		for (int i = 0; i < 8; i++)
			cvs[lane][i] = cv[i][lane];
}

#undef LOADED
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
