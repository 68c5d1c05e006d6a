/* See pack_piece.h. */
#include "pack_piece.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What is read at once at most: 500 files of 2 KiB. */
#define PIECE_MAX (1024 * 1024)

/* "tvpr" */
#define MAGIC 0x72707674u
#define HEAD_BYTES 16
#define KEY_START "chunks/b3"
#define KEY_START_BYTES sizeof KEY_START
#define KEY_BYTES (KEY_START_BYTES + BLAKE3_BYTES)

static uint32_t get32(const uint8_t *from)
{
	return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static bool read_at(struct chunk_source *source, const struct chunk *first, uint64_t offset, size_t length,
                    struct pack_piece *piece)
{
	struct source_file file;
	piece->has_more = false;
	if (offset > INT64_MAX || (!piece->bytes && !(piece->bytes = malloc(PIECE_MAX))))
		return false;
	if (!open_source_file(source, first, false, &file))
		return false;
	size_t wanted = length < PIECE_MAX ? length : PIECE_MAX;
	ssize_t got = pread(file.fd, piece->bytes, wanted, (off_t)offset);
	close_source_file(source, &file);
	piece->length = got > 0 ? got : 0;
	piece->next = 0;
	piece->offset = offset;
	piece->has_more = got == (ssize_t)wanted;
	return got > 0;
}

bool read_piece(struct chunk_source *source, const struct chunk *first, size_t length, struct pack_piece *piece)
{
	if (first->place.stored == 0 || first->place.offset < HEAD_BYTES + KEY_BYTES)
		return false;
	return read_at(source, first, first->place.offset - HEAD_BYTES - KEY_BYTES, length, piece);
}

bool read_next_piece(struct chunk_source *source, const struct chunk *first, size_t length, struct pack_piece *piece)
{
	/* One that is not whole at the beginning is larger than a piece, or is none. */
	return piece->has_more && piece->next > 0 && read_at(source, first, piece->offset + piece->next, length, piece);
}

bool next_chunk(struct pack_piece *piece, struct packed_chunk *chunk)
{
	while (piece->length - piece->next >= HEAD_BYTES) {
		const uint8_t *record = piece->bytes + piece->next, *key = record + HEAD_BYTES;
		uint64_t stored = get32(record + 8), key_bytes = get32(record + 12), end = HEAD_BYTES + key_bytes + stored;
		if (get32(record) != MAGIC) {
			/* Garbage: nothing behind it is looked for. */
			piece->has_more = false;
			return false;
		}
		if (end > piece->length - piece->next)
			return false;
		/* Records begin at multiples of 8, as pieces do. */
		end = (piece->next + end + 7) & ~(uint64_t)7;
		piece->next = end < piece->length ? end : piece->length;
		if (key_bytes != KEY_BYTES || memcmp(key, KEY_START, KEY_START_BYTES) != 0)
			continue;
		*chunk = (struct packed_chunk){key + KEY_START_BYTES, key + KEY_BYTES, stored};
		return true;
	}
	return false;
}
