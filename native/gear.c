#include "gear.h"

/* A hash of 64 bits has forgotten what lies further back than this. */
#define MEMORY 64
/* Parts that are hashed at the same time: in one alone each step waits for the one before it. */
#define PARTS 4
#define PART_BYTES 2048

static inline uint64_t step(const struct gear *gear, uint64_t hash, uint8_t byte)
{
	return (hash << 1) + gear->table[byte];
}

static size_t find_alone(const struct gear *gear, const uint8_t *bytes, size_t from, size_t to, uint64_t mask, uint64_t *hash)
{
	uint64_t h = *hash;
	for (; from < to; from++) {
		h = step(gear, h, bytes[from]);
		if ((h & mask) == 0)
			break;
	}
	*hash = h;
	return from;
}

/* The same in PARTS of PART_BYTES from `bytes`, where at least MEMORY bytes lie that were hashed; their length when there is none. */
static size_t find_in_parts(const struct gear *gear, const uint8_t *bytes, uint64_t mask, uint64_t *hash)
{
	uint64_t h[PARTS] = {*hash};
	size_t found[PARTS];
	for (int part = 1; part < PARTS; part++)
		for (int i = -MEMORY; i < 0; i++)
			h[part] = step(gear, h[part], bytes[part * PART_BYTES + i]);
	for (int part = 0; part < PARTS; part++)
		found[part] = PART_BYTES;
	for (size_t i = 0; i < PART_BYTES; i++) {
		for (int part = 0; part < PARTS; part++)
			h[part] = step(gear, h[part], bytes[part * PART_BYTES + i]);
		if (__builtin_expect((h[0] & mask) && (h[1] & mask) && (h[2] & mask) && (h[3] & mask), 1))
			continue;
		for (int part = 0; part < PARTS; part++)
			if ((h[part] & mask) == 0 && found[part] == PART_BYTES)
				found[part] = i;
		if (found[0] < PART_BYTES)
			break;
	}
	*hash = h[PARTS - 1];
	for (int part = 0; part < PARTS; part++)
		if (found[part] < PART_BYTES)
			return part * PART_BYTES + found[part];
	return PARTS * PART_BYTES;
}

/* Hashes on and gives the first position from `from` whose byte makes the hash 0 under `mask`; `to` when there is none. */
static size_t find(const struct gear *gear, const uint8_t *bytes, size_t from, size_t to, uint64_t mask, uint64_t *hash)
{
	while (to - from >= PARTS * PART_BYTES) {
		size_t found = find_in_parts(gear, bytes + from, mask, hash);
		from += found;
		if (found < PARTS * PART_BYTES)
			return from;
	}
	return find_alone(gear, bytes, from, to, mask, hash);
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
