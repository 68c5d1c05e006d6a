#define _GNU_SOURCE
#include "page_push.h"

#include <string.h>
#include <sys/uio.h>

#include "zstd.h"

/* The record of a chunk in a pack may be longer than its contents by this much: its head, its key, and the frame of noise. */
#define RECORD_MORE 96
/* What is read for a group: a few files first, and then so many times at most as much as all of them need. */
#define FIRST_PIECE 65536
#define PIECES_MAX 3
#define NOTIFY_STORE 4

struct store_message {
	struct {
		uint32_t length;
		int32_t code;
		uint64_t unique;
	} header;
	struct {
		uint64_t nodeid, offset;
		uint32_t size, padding;
	} store;
};

static struct chunk chunk_of(const struct record *record)
{
	return (struct chunk){
	    .digest = record->digest, .blob = record->digest, .size = record->size, .place = record->place};
}

/* The kernel says ENOENT for what it has forgotten meanwhile. */
static bool store(const struct page_push *push, const struct record *record, const uint8_t *contents)
{
	struct store_message message = {
	    .header = {sizeof message + record->size, NOTIFY_STORE, 0},
	    .store = {record->nodeid, 0, record->size, 0},
	};
	struct iovec parts[2] = {{&message, sizeof message}, {(void *)contents, record->size}};
	return writev(push->device, parts, 2) >= 0;
}

/* All are read first, since their digests are computed side by side. */
void push_loaded(struct page_push *push)
{
	size_t pushed = 0, bytes = 0;
	blake3_many(push->messages, push->count);
	for (size_t i = 0; i < push->count; i++) {
		const struct record *record = push->loaded[i];
		if (memcmp(push->digests[i], record->digest, BLAKE3_BYTES) != 0 ||
		    !store(push, record, push->messages[i].bytes))
			continue;
		pushed++;
		bytes += record->size;
	}
	atomic_fetch_add(&push->counts->files, pushed);
	atomic_fetch_add(&push->counts->bytes, bytes);
	atomic_fetch_add(&push->counts->failed, push->count - pushed);
	push->count = 0;
}

/* Where the contents of the next file belong. */
static uint8_t *room_for_next(struct page_push *push)
{
	if (push->count == SHARE)
		push_loaded(push);
	if (push->count == 0)
		return push->contents;
	const struct blake3_message *last = &push->messages[push->count - 1];
	return (uint8_t *)last->bytes + last->length;
}

/* What lies where room_for_next said. */
static void add_loaded(struct page_push *push, const struct record *record, const uint8_t *contents)
{
	size_t at = push->count++;
	push->loaded[at] = record;
	push->messages[at] = (struct blake3_message){contents, record->size, push->digests[at]};
}

void push_one_by_one(struct page_push *push, size_t count)
{
	for (const struct record *record = push->group; record < push->group + count; record++) {
		const struct chunk chunk = chunk_of(record);
		uint8_t *into = room_for_next(push);
		if (record->size <= FILE_MAX &&
		    load_chunk(push->source, &chunk, into, &push->room, false) == CHUNK_LOADED)
			add_loaded(push, record, into);
		else
			atomic_fetch_add(&push->counts->failed, 1);
	}
}

/* The place of a chunk among the records from `from` on; `count` when it is none of them. */
static size_t find_record(const struct record *records, size_t count, size_t from, const uint8_t *digest)
{
	/* Only what is right in its first bytes is looked at any further: most chunks between are others. */
	uint64_t start, other;
	memcpy(&start, digest, sizeof start);
	for (size_t i = from; i < count; i++) {
		memcpy(&other, records[i].digest, sizeof other);
		if (other == start && memcmp(records[i].digest, digest, BLAKE3_BYTES) == 0)
			return i;
	}
	return count;
}

/* Of the records, those that lie in the piece of a pack that was read; how many. `next` is where the next one is expected. */
static size_t push_found(struct page_push *push, size_t count, bool is_found[GROUP], size_t *next)
{
	const struct record *records = push->group;
	struct packed_chunk chunk;
	size_t found = 0;
	while (*next < count && next_chunk(&push->piece, &chunk)) {
		size_t at = find_record(records, count, *next, chunk.digest);
		if (at == count || is_found[at] || records[at].size > FILE_MAX)
			continue;
		uint8_t *into = room_for_next(push);
		if (zstd_decompress(into, records[at].size, chunk.frames, chunk.stored) != (int64_t)records[at].size)
			continue;
		add_loaded(push, &records[at], into);
		is_found[at] = true;
		found++;
		while (*next < count && is_found[*next])
			++*next;
	}
	return found;
}

bool push_neighbours(struct page_push *push, size_t count, bool is_found[GROUP])
{
	struct chunk_source *source = push->source;
	const struct chunk first = chunk_of(push->group);
	size_t bytes = 0, next = 0, found = 0;
	for (size_t i = 0; i < count; i++)
		bytes += push->group[i].size + RECORD_MORE;
	/* Whoever lists a directory and reads it at once is right behind. */
	bool has_piece = read_piece(source, &first, bytes < FIRST_PIECE ? bytes : FIRST_PIECE, &push->piece);
	for (int pieces = 0; has_piece; has_piece = found < count && ++pieces <= PIECES_MAX &&
	                                            read_next_piece(source, &first, bytes, &push->piece))
		found += push_found(push, count, is_found, &next);
	return found == count;
}
