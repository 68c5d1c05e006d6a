#include "blake3_stream.h"

#include <string.h>

/*
 * Puts together what has become whole subtrees: as many are left as the number of chunks has bits. As more is to come, no
 * parent made here is the root.
 */
static void merge(struct blake3_stream *stream)
{
	for (; stream->subtrees > (uint32_t)__builtin_popcountll(stream->chunks); stream->subtrees--) {
		words8 *children = &stream->cvs[stream->subtrees - 2];
		blake3_parent(children, BLAKE3_INNER, children[0]);
	}
}

/* Adds the chaining value of the next `chunks` chunks, a power of two that divides how many there were. */
static void push(struct blake3_stream *stream, const words8 cv, uint64_t chunks)
{
	merge(stream);
	memcpy(stream->cvs[stream->subtrees++], cv, sizeof(words8));
	stream->chunks += chunks;
}

/* The halves of a subtree one by one: their parent may be the root. */
static void push_halves(struct blake3_stream *stream, const uint8_t *bytes, uint64_t chunks)
{
	for (int half = 0; half < 2; half++) {
		words8 cv;
		size_t length = chunks / 2 * BLAKE3_CHUNK_BYTES;
		if (chunks == 2)
			blake3_chunk(bytes, length, stream->chunks, BLAKE3_INNER, cv);
		else
			blake3_subtree(bytes, length, stream->chunks, BLAKE3_INNER, cv);
		push(stream, cv, chunks / 2);
		bytes += length;
	}
}

/* The largest subtree that may begin here. */
static uint64_t next_subtree(const struct blake3_stream *stream, size_t length)
{
	uint64_t chunks = 1;
	while (chunks * 2 * BLAKE3_CHUNK_BYTES <= length && (stream->chunks & (2 * chunks - 1)) == 0)
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
		if (chunks > 1) {
			push_halves(stream, bytes, chunks);
		} else {
			blake3_chunk(bytes, taken, stream->chunks, BLAKE3_INNER, cv);
			push(stream, cv, 1);
		}
		bytes += taken;
		length -= taken;
	}
	if (length == 0)
		return;
	merge(stream);
	fill(stream, bytes, length);
}

void blake3_digest(const struct blake3_stream *stream, uint8_t digest[BLAKE3_BYTES])
{
	words8 children[2];
	uint32_t left = stream->subtrees;
	if (stream->buffered > 0 || left == 0)
		blake3_chunk(stream->buffer, stream->buffered, stream->chunks, left == 0 ? BLAKE3_ROOT : BLAKE3_INNER, children[1]);
	else
		memcpy(children[1], stream->cvs[--left], sizeof(words8));
	while (left-- > 0) {
		memcpy(children[0], stream->cvs[left], sizeof(words8));
		blake3_parent(children, left == 0 ? BLAKE3_ROOT : BLAKE3_INNER, children[1]);
	}
	memcpy(digest, children[1], BLAKE3_BYTES);
}
