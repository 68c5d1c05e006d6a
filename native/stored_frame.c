#include "stored_frame.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

/* As in src/support/zstd-stored.ts, which gives the reasons. */
#define SAMPLES 16
#define SAMPLE_BYTES 1024
#define CHI_SQUARE_MAX 400

#define HEAD_BYTES STORED_HEAD_BYTES
#define BLOCK_HEAD_BYTES STORED_BLOCK_HEAD_BYTES
#define BLOCK_BYTES_MAX (128 * 1024)
/* Blocks that are written at once. */
#define BLOCKS 16

bool looks_like_noise(const uint8_t *bytes, size_t length)
{
	uint32_t counts[256] = {0};
	const double expected = SAMPLES * SAMPLE_BYTES / 256;
	double squares = 0;
	if (length < SAMPLES * SAMPLE_BYTES)
		return false;
	size_t stride = (length - SAMPLE_BYTES) / (SAMPLES - 1);
	for (size_t sample = 0; sample < SAMPLES; sample++)
		for (size_t i = 0; i < SAMPLE_BYTES; i++)
			counts[bytes[sample * stride + i]]++;
	for (int byte = 0; byte < 256; byte++)
		squares += (counts[byte] - expected) * (counts[byte] - expected);
	return squares / expected <= CHI_SQUARE_MAX;
}

static int write_parts(int fd, struct iovec *parts, int count)
{
	while (count > 0) {
		ssize_t written = writev(fd, parts, count);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		while (count > 0 && (size_t)written >= parts->iov_len) {
			written -= parts->iov_len;
			parts++;
			count--;
		}
		if (count > 0) {
			parts->iov_base = (uint8_t *)parts->iov_base + written;
			parts->iov_len -= written;
		}
	}
	return 0;
}

static struct iovec *add_part(struct iovec *at, const uint8_t *bytes, size_t length)
{
	*at = (struct iovec){(void *)bytes, length};
	return at + 1;
}

static void put_head(uint8_t head[HEAD_BYTES], size_t length)
{
	memcpy(head, (uint8_t[]){0x28, 0xb5, 0x2f, 0xfd, 0xa0, length, length >> 8, length >> 16, length >> 24}, HEAD_BYTES);
}

static void put_block_head(uint8_t head[BLOCK_HEAD_BYTES], size_t size, bool is_last)
{
	uint32_t block_head = (uint32_t)size << 3 | is_last;
	for (int i = 0; i < BLOCK_HEAD_BYTES; i++)
		head[i] = block_head >> (8 * i);
}

size_t stored_frame_bytes(size_t length)
{
	size_t blocks = length == 0 ? 1 : (length + BLOCK_BYTES_MAX - 1) / BLOCK_BYTES_MAX;
	return HEAD_BYTES + blocks * BLOCK_HEAD_BYTES + length;
}

void put_stored_frame(uint8_t *into, const uint8_t *bytes, size_t length)
{
	put_head(into, length);
	into += HEAD_BYTES;
	bool is_last;
	do {
		size_t size = length < BLOCK_BYTES_MAX ? length : BLOCK_BYTES_MAX;
		is_last = size == length;
		put_block_head(into, size, is_last);
		memcpy(into + BLOCK_HEAD_BYTES, bytes, size);
		into += BLOCK_HEAD_BYTES + size;
		bytes += size;
		length -= size;
	} while (!is_last);
}

int split_stored_frame(struct stored_heads *heads, uint8_t *into, size_t length, struct iovec parts[STORED_PARTS_MAX])
{
	if (length == 0 || length > STORED_BLOCKS_MAX * BLOCK_BYTES_MAX)
		return 0;
	struct iovec *end = add_part(parts, heads->frame, HEAD_BYTES);
	for (size_t block = 0, size; length > 0; block++, into += size, length -= size) {
		size = length < BLOCK_BYTES_MAX ? length : BLOCK_BYTES_MAX;
		end = add_part(end, heads->blocks[block], BLOCK_HEAD_BYTES);
		end = add_part(end, into, size);
	}
	return end - parts;
}

bool are_stored_heads(const struct stored_heads *heads, size_t length)
{
	uint8_t expected[HEAD_BYTES];
	put_head(expected, length);
	if (memcmp(heads->frame, expected, HEAD_BYTES) != 0)
		return false;
	for (size_t block = 0, size; length > 0; block++, length -= size) {
		size = length < BLOCK_BYTES_MAX ? length : BLOCK_BYTES_MAX;
		put_block_head(expected, size, size == length);
		if (memcmp(heads->blocks[block], expected, BLOCK_HEAD_BYTES) != 0)
			return false;
	}
	return true;
}

int write_stored_frame(int fd, const uint8_t *bytes, size_t length)
{
	uint8_t head[HEAD_BYTES], block_heads[BLOCKS][BLOCK_HEAD_BYTES];
	put_head(head, length);
	struct iovec parts[1 + 2 * BLOCKS], *end = add_part(parts, head, HEAD_BYTES);
	bool is_last;
	do {
		for (int block = 0; block < BLOCKS; block++) {
			size_t size = length < BLOCK_BYTES_MAX ? length : BLOCK_BYTES_MAX;
			is_last = size == length;
			put_block_head(block_heads[block], size, is_last);
			end = add_part(end, block_heads[block], BLOCK_HEAD_BYTES);
			if (size > 0)
				end = add_part(end, bytes, size);
			bytes += size;
			length -= size;
			if (is_last)
				break;
		}
		int result = write_parts(fd, parts, end - parts);
		if (result < 0)
			return result;
		end = parts;
	} while (!is_last);
	return 0;
}
