#define _GNU_SOURCE
#include "chunk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "stored_frame.h"
#include "zstd.h"

/* Chunks that may stay in the page cache: to read them anew costs more than their memory. */
#define SMALL_MAX 65536

/* Which bytes of a file; whether they were in the page cache is found out on the way. */
struct range {
	int fd;
	off_t offset;
	size_t length;
	bool at_once, was_cold;
};

static bool make_room(struct frame_room *room, size_t size)
{
	if (room->size >= size)
		return true;
	free(room->bytes);
	room->bytes = malloc(size);
	room->size = room->bytes ? size : 0;
	return room->bytes != NULL;
}

/* What of the file is in the page cache first. */
static ssize_t read_part(struct range *range, uint8_t *into, size_t done)
{
	struct iovec part = {into + done, range->length - done};
	if (!range->was_cold) {
		ssize_t got = preadv2(range->fd, &part, 1, range->offset + done, RWF_NOWAIT);
		if (got >= 0 || range->at_once || (errno != EAGAIN && errno != EOPNOTSUPP))
			return got;
		range->was_cold = true;
	}
	return pread(range->fd, part.iov_base, part.iov_len, range->offset + done);
}

/* How much there was of it; less than 0 when it cannot be read. */
static ssize_t read_range(struct range *range, uint8_t *into)
{
	/* In one call: a file gives less than was asked for only at its end. Where it does not, it counts as cut. */
	if (!range->at_once && range->length <= FRAME_MAX(SMALL_MAX) + 1)
		return pread(range->fd, into, range->length, range->offset);
	size_t done = 0;
	while (done < range->length) {
		ssize_t got = read_part(range, into, done);
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += got;
	}
	return done;
}

/* A file for each: how long it is tells its end, which must come before it is longer than a frame of noise could be. */
static bool is_loose_length(const struct chunk *chunk, ssize_t length)
{
	return length > 0 && (size_t)length <= FRAME_MAX(chunk->size);
}

/* What to read for a chunk; false for a place where it cannot lie. */
static bool range_of(const struct chunk_source *source, const struct chunk *chunk, struct range *range)
{
	const struct place *place = &chunk->place;
	switch (kind_of(source)) {
	case SOURCE_LOOSE:
		range->length = FRAME_MAX(chunk->size) + 1;
		return true;
	case SOURCE_PACKS:
		range->length = place->stored;
		break;
	case SOURCE_RAW:
		range->length = chunk->size;
		break;
	}
	range->offset = (off_t)place->offset;
	return range->length > 0 && range->length <= FRAME_MAX(chunk->size) &&
	       place->offset <= (uint64_t)INT64_MAX - range->length;
}

/* A large chunk of noise, stored as it is, goes where it belongs without a copy. False for any other, and what waits for the disk. */
static bool read_stored(const struct range *range, size_t size, uint8_t *into)
{
	struct stored_heads heads;
	struct iovec parts[STORED_PARTS_MAX];
	if (size <= SMALL_MAX || range->length != stored_frame_bytes(size))
		return false;
	int count = split_stored_frame(&heads, into, size, parts);
	return count > 0 && preadv2(range->fd, parts, count, range->offset, RWF_NOWAIT) == (ssize_t)range->length &&
	       are_stored_heads(&heads, size);
}

/* CHUNK_LOADED: `range` is in the memory that `into` is, or in that of `room`, where it is to be decompressed. */
static enum load_outcome load_range(struct chunk_source *source, const struct chunk *chunk, struct range *range,
                                    uint8_t *into, struct frame_room *room)
{
	if (kind_of(source) == SOURCE_RAW) {
		ssize_t length = read_range(range, into);
		return length < 0 && range->at_once ? CHUNK_WOULD_WAIT
		       : length == (ssize_t)chunk->size ? CHUNK_LOADED
		                                        : CHUNK_NOT_LOADED;
	}
	if (kind_of(source) == SOURCE_PACKS && read_stored(range, chunk->size, into))
		return CHUNK_LOADED;
	if (!make_room(room, range->length))
		return CHUNK_NOT_LOADED;
	ssize_t length = read_range(range, room->bytes);
	if (length < 0 && range->at_once)
		return CHUNK_WOULD_WAIT;
	bool is_whole = kind_of(source) == SOURCE_LOOSE ? is_loose_length(chunk, length) : length == (ssize_t)range->length;
	return is_whole && zstd_decompress(into, chunk->size, room->bytes, length) == (int64_t)chunk->size
	           ? CHUNK_LOADED
	           : CHUNK_NOT_LOADED;
}

enum load_outcome load_chunk(struct chunk_source *source, const struct chunk *chunk, uint8_t *into,
                             struct frame_room *room, bool at_once)
{
	struct range range = {.at_once = at_once};
	struct source_file file;
	if (!range_of(source, chunk, &range))
		return CHUNK_NOT_LOADED;
	if (!open_source_file(source, chunk, at_once, &file))
		return at_once ? CHUNK_WOULD_WAIT : CHUNK_NOT_LOADED;
	range.fd = file.fd;
	enum load_outcome outcome = load_range(source, chunk, &range, into, room);
	/* The contents are kept above, by who reads them; what is large need not be in memory twice. */
	if (range.was_cold && chunk->size > SMALL_MAX && !chunk->stays)
		posix_fadvise(file.fd, range.offset, range.length, POSIX_FADV_DONTNEED);
	close_source_file(source, &file);
	return outcome;
}

enum load_outcome load_verified_chunk(struct chunk_source *source, const struct chunk *chunk, uint8_t *into,
                                      struct frame_room *room, bool at_once)
{
	uint8_t actual[BLAKE3_BYTES];
	enum load_outcome outcome = load_chunk(source, chunk, into, room, at_once);
	if (outcome != CHUNK_LOADED)
		return outcome;
	blake3(into, chunk->size, actual);
	return memcmp(actual, chunk->digest, BLAKE3_BYTES) == 0 ? CHUNK_LOADED : CHUNK_NOT_LOADED;
}

static bool is_unchanged(int fd, const struct file_state *known)
{
	struct stat now;
	if (fstat(fd, &now) != 0)
		return false;
	const struct file_state state = state_of(&now);
	/* Without padding. */
	return memcmp(&state, known, sizeof state) == 0;
}

enum load_outcome load_known_part(struct chunk_source *source, const uint8_t blob[BLAKE3_BYTES],
                                  const struct file_state *known, uint64_t offset, size_t length, uint8_t *into,
                                  bool at_once)
{
	const struct chunk whole = {.digest = blob, .blob = blob};
	struct range range = {.offset = (off_t)offset, .length = length, .at_once = at_once};
	struct source_file file;
	if (!open_source_file(source, &whole, at_once, &file))
		return at_once ? CHUNK_WOULD_WAIT : CHUNK_NOT_LOADED;
	range.fd = file.fd;
	ssize_t got = read_range(&range, into);
	bool is_right = got == (ssize_t)length && is_unchanged(file.fd, known);
	/* As in load_chunk: who reads keeps it. */
	if (range.was_cold)
		posix_fadvise(file.fd, range.offset, length, POSIX_FADV_DONTNEED);
	close_source_file(source, &file);
	return is_right ? CHUNK_LOADED : got < 0 && at_once ? CHUNK_WOULD_WAIT : CHUNK_NOT_LOADED;
}
