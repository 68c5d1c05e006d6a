/* A chunk in a folder of the local disk: `<4 hex>/<64 hex>`, zstd frames, one or several. */
#ifndef TVIX_STORE_CHUNK_FILE_H
#define TVIX_STORE_CHUNK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "blake3.h"

/* A zstd frame of noise is this much longer at most (ZSTD_compressBound, and its header and checksum). */
#define FRAME_MAX(size) ((size) + ((size) >> 7) + 512)

/* Memory for the compressed file, kept from one to the next; begin with zeros, and free `bytes` in the end. */
struct frame_room {
	uint8_t *bytes;
	size_t size;
};

/*
 * Reads the chunk with this digest, which is not compared: true when `size` bytes were put into `into`, exactly.
 * Never waits for anything but the disk. zstd_found() must have been true.
 */
bool load_chunk(int folder, const uint8_t digest[BLAKE3_BYTES], uint8_t *into, size_t size, struct frame_room *room);

#endif
