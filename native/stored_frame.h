/* zstd frames of bytes that no compressor shortens. See src/support/zstd-stored.ts, which does the same. */
#ifndef TVIX_STORE_STORED_FRAME_H
#define TVIX_STORE_STORED_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether all bytes are equally frequent, in samples from all over. */
bool looks_like_noise(const uint8_t *bytes, size_t length);

/* Writes one frame that holds the bytes, fewer than 4 GiB, as they are. 0 or -errno. */
int write_stored_frame(int fd, const uint8_t *bytes, size_t length);

/* The same frame in memory, which has room for so many bytes. */
size_t stored_frame_bytes(size_t length);
void put_stored_frame(uint8_t *into, const uint8_t *bytes, size_t length);

#endif
