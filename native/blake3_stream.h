/* BLAKE3 of a message that comes in pieces. */
#ifndef TVIX_STORE_BLAKE3_STREAM_H
#define TVIX_STORE_BLAKE3_STREAM_H

#include "blake3.h"
#include "blake3_tree.h"

/* Subtrees of a message of 2^64 bytes that are complete at the same time, and one half. */
#define BLAKE3_DEPTH_MAX 55

/* All zeros before the first byte. It may be moved and copied. */
struct blake3_stream {
	/* That are hashed. */
	uint64_t chunks;
	uint32_t subtrees;
	/* Of the chunk that is being put together. It may be the last, so it is not hashed before the next byte comes; if
	   there is nothing of it, the last two subtrees may be halves of one. */
	uint32_t buffered;
	words8 cvs[BLAKE3_DEPTH_MAX];
	uint8_t buffer[BLAKE3_CHUNK_BYTES];
};

void blake3_update(struct blake3_stream *stream, const uint8_t *bytes, size_t length);

/* Of everything so far; more may follow. */
void blake3_digest(const struct blake3_stream *stream, uint8_t digest[BLAKE3_BYTES]);

#endif
