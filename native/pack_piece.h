/*
 * A piece of a pack (docs/pack-format.md), read at once: what was stored together lies together, so the small files of a directory are
 * found there without asking the index for each. What a record says of itself is only a guess at what it holds: the digest of its
 * contents tells.
 */
#ifndef TVIX_STORE_PACK_PIECE_H
#define TVIX_STORE_PACK_PIECE_H

#include "chunk_source.h"

/* Begin with zeros, and free `bytes` in the end. */
struct pack_piece {
	uint8_t *bytes;
	size_t length, next;
	/* Where in the pack it begins, and whether it went on there when it was read. */
	uint64_t offset;
	bool has_more;
};

/* A chunk that lies in a piece, as zstd frames. */
struct packed_chunk {
	const uint8_t *digest, *frames;
	size_t stored;
};

/* Reads `length` bytes or fewer from where the record of `first` begins. False: nothing is there. */
bool read_piece(struct chunk_source *source, const struct chunk *first, size_t length, struct pack_piece *piece);

/* The same from the first record on that was not whole in a piece; `first` is as it was. False: that was the last one. */
bool read_next_piece(struct chunk_source *source, const struct chunk *first, size_t length, struct pack_piece *piece);

/* The next whole record of a chunk; others are skipped. False: the piece has no more. */
bool next_chunk(struct pack_piece *piece, struct packed_chunk *chunk);

#endif
