/* Chunks of which a part was read and more is wanted soon, kept in a bounded memory that threads share. */
#ifndef TVIX_STORE_KEPT_CHUNKS_H
#define TVIX_STORE_KEPT_CHUNKS_H

#include <pthread.h>

#include "chunk_file.h"

#define KEPT_MAX 64

/* A place for a chunk. Its memory stays when the chunk goes: mapping and clearing it anew costs more than filling it. */
struct kept {
	uint8_t digest[BLAKE3_BYTES];
	uint8_t *bytes;
	/* Bytes of the chunk, 0: there is none; and of the memory */
	size_t size, room;
	unsigned users;
	uint64_t last_used;
	bool is_loading;
};

struct kept_chunks {
	pthread_mutex_t mutex;
	pthread_cond_t loaded;
	struct kept places[KEPT_MAX];
	size_t bytes;
	uint64_t clock;
};

void init_kept_chunks(struct kept_chunks *chunks);
void free_kept_chunks(struct kept_chunks *chunks);
/* A chunk, in use until it is released; NULL when it cannot be had, or there is no place for it. */
struct kept *keep_chunk(struct kept_chunks *chunks, struct chunk_source *source, const struct chunk *chunk,
                        struct frame_room *room);

/* The same for one that is there already, or can be loaded without waiting for the disk or for who is loading it. */
struct kept *keep_chunk_at_once(struct kept_chunks *chunks, struct chunk_source *source, const struct chunk *chunk,
                                struct frame_room *room);
/* The same for one that is there already, or being loaded; waits for that. */
struct kept *await_chunk(struct kept_chunks *chunks, const uint8_t digest[BLAKE3_BYTES], size_t size);
/* The same for one that is there already; never waits. */
struct kept *find_chunk(struct kept_chunks *chunks, const uint8_t digest[BLAKE3_BYTES], size_t size);
void release_chunk(struct kept_chunks *chunks, struct kept *kept);

#endif
