/* libzstd, which is a part of the node executable: it exports the functions, and its header is not there. */
#ifndef TVIX_STORE_ZSTD_H
#define TVIX_STORE_ZSTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when this node has no libzstd that could be used. Call it before the others. */
bool zstd_found(void);

/* All frames of `frames`, into `into`, with the context of this thread: bytes, or less than 0 (-error of libzstd). */
int64_t zstd_decompress(uint8_t *into, size_t room, const uint8_t *frames, size_t length);

/* One frame with the size of its contents, likewise. */
int64_t zstd_compress(uint8_t *into, size_t room, const uint8_t *bytes, size_t length, int level);

#endif
