#define _GNU_SOURCE
#include "crc32.h"

#include <dlfcn.h>

/* zlib of the node executable; its header is not there. */
static unsigned long (*zlib_crc32)(unsigned long, const uint8_t *, unsigned);

#ifdef __x86_64__
#include <immintrin.h>

/* Below this zlib is as fast. */
#define FOLDED_MIN 256
#define LANES 4
#define POLYNOMIAL 0xedb88320u

/*
 * The remainder of a message does not change when a part of it is replaced by any other with the same remainder, as much
 * shorter as one likes. So 16 bytes are multiplied by what x to the distance leaves, and added to those 16 that lie as far
 * behind them, until 16 are left that all of it has become. Bits are mirrored, as they are in this checksum: that is where
 * the one place comes from by which the factors are shifted, and why the two halves have theirs 32 up and down.
 */
static uint64_t remainder_of_power(int exponent)
{
	uint32_t remainder = 1u << 31;
	for (int i = 0; i < exponent; i++)
		remainder = remainder >> 1 ^ (remainder & 1 ? POLYNOMIAL : 0);
	return (uint64_t)remainder << 1;
}

static struct {
	bool is_there;
	/* For both halves: over the distance of all lanes, and of one. */
	uint64_t far[2], near[2];
} folding;

static void find_folding(void)
{
	folding.is_there = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
	for (int half = 0; half < 2; half++) {
		int aside = half == 0 ? 32 : -32;
		folding.far[half] = remainder_of_power(LANES * 128 + aside);
		folding.near[half] = remainder_of_power(128 + aside);
	}
}

#define TARGET __attribute__((target("pclmul,sse4.1")))

TARGET static inline __m128i fold(__m128i lane, __m128i factors, __m128i behind)
{
	__m128i low = _mm_clmulepi64_si128(lane, factors, 0x00), high = _mm_clmulepi64_si128(lane, factors, 0x11);
	return _mm_xor_si128(_mm_xor_si128(low, high), behind);
}

TARGET static inline __m128i load(const uint8_t *bytes)
{
	return _mm_loadu_si128((const __m128i *)bytes);
}

TARGET static uint32_t crc32_folded(uint32_t before, const uint8_t *bytes, size_t length)
{
	__m128i far = load((const uint8_t *)folding.far), near = load((const uint8_t *)folding.near);
	__m128i lanes[LANES];
	for (int i = 0; i < LANES; i++)
		lanes[i] = load(bytes + 16 * i);
	lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128((int)~before));
	const uint8_t *at = bytes + sizeof lanes, *end = bytes + length;
	for (; (size_t)(end - at) >= sizeof lanes; at += sizeof lanes)
		for (int i = 0; i < LANES; i++)
			lanes[i] = fold(lanes[i], far, load(at + 16 * i));
	__m128i all = lanes[0];
	for (int i = 1; i < LANES; i++)
		all = fold(all, near, lanes[i]);
	/* What the checksum begins with is in there already. */
	return zlib_crc32(zlib_crc32(0xffffffff, (const uint8_t *)&all, sizeof all), at, end - at);
}
#endif

bool crc32_found(void)
{
	*(void **)&zlib_crc32 = dlsym(RTLD_DEFAULT, "crc32");
#ifdef __x86_64__
	find_folding();
#endif
	return zlib_crc32 != NULL;
}

uint32_t crc32_of(uint32_t before, const uint8_t *bytes, size_t length)
{
#ifdef __x86_64__
	if (folding.is_there && length >= FOLDED_MIN)
		return crc32_folded(before, bytes, length);
#endif
	return zlib_crc32(before, bytes, length);
}
