/* Where content-defined chunking cuts. See src/model/castore/fastcdc.ts, which decides all the numbers. */
#ifndef TVIX_STORE_GEAR_H
#define TVIX_STORE_GEAR_H

#include <stddef.h>
#include <stdint.h>

struct gear {
	uint64_t table[256];
	/* Masks before and behind the average. */
	uint64_t strict, loose;
	/* Bytes of a chunk; `min` is even and at least 16. */
	uint64_t min, avg, max;
};

/* The length of the first chunk of what is the rest of the blob, or at least `max` bytes of it. */
size_t gear_cut(const struct gear *gear, const uint8_t *bytes, size_t length);

#endif
