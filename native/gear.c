#include "gear.h"

/* Bytes that are hashed in one step. */
#define STEP 4

/*
 * Hashes on and gives the first position from `from` whose byte makes the hash 0 under `mask`; `to` when there is none.
 * Each hash waits for the one before it, so the last of a step is made of the second alone, and that of the step before.
 */
static size_t find(const struct gear *gear, const uint8_t *bytes, size_t from, size_t to, uint64_t mask, uint64_t *hash)
{
	const uint64_t *table = gear->table;
	uint64_t h = *hash;
	for (; to - from >= STEP; from += STEP) {
		uint64_t a = table[bytes[from]], b = table[bytes[from + 1]];
		uint64_t c = table[bytes[from + 2]], d = table[bytes[from + 3]];
		uint64_t first = (h << 1) + a, second = (h << 2) + ((a << 1) + b), third = (second << 1) + c;
		h = (second << 2) + ((c << 1) + d);
		if ((first & mask) == 0)
			return from;
		if ((second & mask) == 0)
			return from + 1;
		if ((third & mask) == 0)
			return from + 2;
		if ((h & mask) == 0)
			return from + 3;
	}
	for (; from < to; from++) {
		h = (h << 1) + table[bytes[from]];
		if ((h & mask) == 0)
			return from;
	}
	*hash = h;
	return to;
}

static size_t even(size_t length)
{
	return length & ~(size_t)1;
}

size_t gear_cut(const struct gear *gear, const uint8_t *bytes, size_t length)
{
	if (length <= gear->min)
		return length;
	size_t end = length < gear->max ? length : gear->max, centre = length < gear->avg ? length : gear->avg;
	uint64_t hash = 0;
	size_t early = find(gear, bytes, gear->min, even(centre), gear->strict, &hash);
	if (early < even(centre))
		return early;
	size_t late = find(gear, bytes, even(centre), even(end), gear->loose, &hash);
	return late < even(end) ? late : end;
}
