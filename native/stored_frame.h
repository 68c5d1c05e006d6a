/* zstd frames of bytes that no compressor shortens. See src/support/zstd-stored.ts, which does the same. */
#ifndef TVIX_STORE_STORED_FRAME_H
#define TVIX_STORE_STORED_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STORED_HEAD_BYTES 9
#define STORED_BLOCK_HEAD_BYTES 3
/* Blocks of frames that are read into place: 2 MiB, four times what our chunks have. */
#define STORED_BLOCKS_MAX 16
#define STORED_PARTS_MAX (1 + 2 * STORED_BLOCKS_MAX)

/* What of a frame are not the bytes that it holds. */
struct stored_heads {
	uint8_t frame[STORED_HEAD_BYTES], blocks[STORED_BLOCKS_MAX][STORED_BLOCK_HEAD_BYTES];
};

/* Whether all bytes are equally frequent, in samples from all over. */
bool looks_like_noise(const uint8_t *bytes, size_t length);

/* Writes one frame that holds the bytes, fewer than 4 GiB, as they are. 0 or -errno. */
int write_stored_frame(int fd, const uint8_t *bytes, size_t length);

/* The same frame in memory, which has room for so many bytes. */
size_t stored_frame_bytes(size_t length);
void put_stored_frame(uint8_t *into, const uint8_t *bytes, size_t length);

/*
 * Where the parts of such a frame belong, so that one preadv(2) puts the bytes that it holds into `into`; how many parts there
 * are, 0 when they would be too many. Whether it was such a frame the heads tell then.
 */
int split_stored_frame(struct stored_heads *heads, uint8_t *into, size_t length, struct iovec parts[STORED_PARTS_MAX]);
bool are_stored_heads(const struct stored_heads *heads, size_t length);

#endif
