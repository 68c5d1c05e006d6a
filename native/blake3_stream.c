#include "blake3_stream.h"

#include <string.h>

/*
 * Adds the chaining value of the next `chunks` chunks, a power of two that divides how many there were. As more is to
 * come, no parent made here is the root.
 */
static void push(struct blake3_stream *stream, const words8 cv, uint64_t chunks)
{
	words8 children[2];
	memcpy(children[1], cv, sizeof(words8));
	for (uint64_t left = stream->chunks / chunks; left & 1; left >>= 1) {
		memcpy(children[0], stream->cvs[--stream->subtrees], sizeof(words8));
		blake3_parent(children, BLAKE3_INNER, children[1]);
	}
	memcpy(stream->cvs[stream->subtrees++], children[1], sizeof(words8));
	stream->chunks += chunks;
}

/* The largest subtree that may begin here and leaves a byte for the last chunk. */
static uint64_t next_subtree(const struct blake3_stream *stream, size_t length)
{
	uint64_t chunks = 1;
	while (chunks * 2 * BLAKE3_CHUNK_BYTES < length && (stream->chunks & (2 * chunks - 1)) == 0)
		chunks *= 2;
	return chunks;
}

static size_t fill(struct blake3_stream *stream, const uint8_t *bytes, size_t length)
{
	size_t room = BLAKE3_CHUNK_BYTES - stream->buffered, taken = length < room ? length : room;
	memcpy(stream->buffer + stream->buffered, bytes, taken);
	stream->buffered += taken;
	return taken;
}

void blake3_update(struct blake3_stream *stream, const uint8_t *bytes, size_t length)
{
	words8 cv;
	if (stream->buffered > 0) {
		size_t taken = fill(stream, bytes, length);
		bytes += taken;
		length -= taken;
		if (length == 0)
			return;
		blake3_chunk(stream->buffer, BLAKE3_CHUNK_BYTES, stream->chunks, BLAKE3_INNER, cv);
		push(stream, cv, 1);
		stream->buffered = 0;
	}
	while (length > BLAKE3_CHUNK_BYTES) {
		uint64_t chunks = next_subtree(stream, length);
		size_t taken = chunks * BLAKE3_CHUNK_BYTES;
		if (chunks == 1)
			blake3_chunk(bytes, taken, stream->chunks, BLAKE3_INNER, cv);
		else
			blake3_subtree(bytes, taken, stream->chunks, BLAKE3_INNER, cv);
		push(stream, cv, chunks);
		bytes += taken;
		length -= taken;
	}
	fill(stream, bytes, length);
}

void blake3_digest(const struct blake3_stream *stream, uint8_t digest[BLAKE3_BYTES])
{
	words8 children[2];
	uint32_t left = stream->subtrees;
	blake3_chunk(stream->buffer, stream->buffered, stream->chunks, left == 0 ? BLAKE3_ROOT : BLAKE3_INNER, children[1]);
	while (left-- > 0) {
		memcpy(children[0], stream->cvs[left], sizeof(words8));
		blake3_parent(children, left == 0 ? BLAKE3_ROOT : BLAKE3_INNER, children[1]);
	}
	memcpy(digest, children[1], BLAKE3_BYTES);
}
