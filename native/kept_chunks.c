/* See kept_chunks.h. */
#define _GNU_SOURCE
#include "kept_chunks.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES_MAX (32 << 20)

void init_kept_chunks(struct kept_chunks *chunks)
{
	pthread_mutex_init(&chunks->mutex, NULL);
	pthread_cond_init(&chunks->loaded, NULL);
}

void free_kept_chunks(struct kept_chunks *chunks)
{
	for (struct kept *kept = chunks->places; kept < chunks->places + KEPT_MAX; kept++)
		free(kept->bytes);
}

/* The place used longest ago, made large enough; NULL when all are in use. */
static struct kept *free_place(struct kept_chunks *chunks, size_t size)
{
	struct kept *place = NULL;
	for (struct kept *kept = chunks->places; kept < chunks->places + KEPT_MAX; kept++)
		if (kept->users == 0 && (!place || kept->last_used < place->last_used))
			place = kept;
	if (!place)
		return NULL;
	place->size = 0;
	if (place->room >= size)
		return place;
	if (chunks->bytes - place->room + size > KEPT_BYTES_MAX)
		return NULL;
	free(place->bytes);
	place->bytes = malloc(size);
	chunks->bytes -= place->room;
	place->room = place->bytes ? size : 0;
	chunks->bytes += place->room;
	return place->bytes ? place : NULL;
}

static struct kept *find(struct kept_chunks *chunks, const uint8_t digest[BLAKE3_BYTES], size_t size)
{
	for (struct kept *kept = chunks->places; kept < chunks->places + KEPT_MAX; kept++)
		if (kept->size == size && memcmp(kept->digest, digest, BLAKE3_BYTES) == 0)
			return kept;
	return NULL;
}

/* One more user of what is there or being loaded, when it is loaded. Under the mutex. */
static void use_loaded(struct kept_chunks *chunks, struct kept *kept)
{
	kept->users++;
	while (kept->is_loading)
		pthread_cond_wait(&chunks->loaded, &chunks->mutex);
}

/* What was used, or NULL when loading it failed. Under the mutex. */
static struct kept *used_now(struct kept_chunks *chunks, struct kept *kept)
{
	if (!kept)
		return NULL;
	kept->last_used = ++chunks->clock;
	if (kept->size > 0)
		return kept;
	kept->users--;
	return NULL;
}

/* Into a place that was found for it, without the mutex meanwhile. */
static void load(struct kept_chunks *chunks, struct kept *kept, struct chunk_source *source, const struct chunk *chunk,
                 struct frame_room *room, bool at_once)
{
	memcpy(kept->digest, chunk->digest, BLAKE3_BYTES);
	kept->size = chunk->size;
	kept->users = 1;
	kept->is_loading = true;
	pthread_mutex_unlock(&chunks->mutex);
	bool is_right = load_verified_chunk(source, chunk, kept->bytes, room, at_once) == CHUNK_LOADED;
	pthread_mutex_lock(&chunks->mutex);
	kept->is_loading = false;
	/* Whoever waits for it finds that there is none. */
	if (!is_right)
		kept->size = 0;
	pthread_cond_broadcast(&chunks->loaded);
}

struct kept *keep_chunk(struct kept_chunks *chunks, struct chunk_source *source, const struct chunk *chunk,
                        struct frame_room *room)
{
	pthread_mutex_lock(&chunks->mutex);
	struct kept *kept = find(chunks, chunk->digest, chunk->size);
	if (kept)
		use_loaded(chunks, kept);
	else if ((kept = free_place(chunks, chunk->size)))
		load(chunks, kept, source, chunk, room, false);
	kept = used_now(chunks, kept);
	pthread_mutex_unlock(&chunks->mutex);
	return kept;
}

struct kept *keep_chunk_at_once(struct kept_chunks *chunks, struct chunk_source *source, const struct chunk *chunk,
                                struct frame_room *room)
{
	pthread_mutex_lock(&chunks->mutex);
	struct kept *kept = find(chunks, chunk->digest, chunk->size);
	if (kept && kept->is_loading)
		kept = NULL;
	else if (kept)
		kept->users++;
	else if ((kept = free_place(chunks, chunk->size)))
		load(chunks, kept, source, chunk, room, true);
	kept = used_now(chunks, kept);
	pthread_mutex_unlock(&chunks->mutex);
	return kept;
}

struct kept *await_chunk(struct kept_chunks *chunks, const uint8_t digest[BLAKE3_BYTES], size_t size)
{
	pthread_mutex_lock(&chunks->mutex);
	struct kept *kept = find(chunks, digest, size);
	if (kept)
		use_loaded(chunks, kept);
	kept = used_now(chunks, kept);
	pthread_mutex_unlock(&chunks->mutex);
	return kept;
}

struct kept *find_chunk(struct kept_chunks *chunks, const uint8_t digest[BLAKE3_BYTES], size_t size)
{
	pthread_mutex_lock(&chunks->mutex);
	struct kept *kept = find(chunks, digest, size);
	if (kept && kept->is_loading)
		kept = NULL;
	if (kept) {
		kept->users++;
		kept->last_used = ++chunks->clock;
	}
	pthread_mutex_unlock(&chunks->mutex);
	return kept;
}

void release_chunk(struct kept_chunks *chunks, struct kept *kept)
{
	pthread_mutex_lock(&chunks->mutex);
	kept->users--;
	pthread_mutex_unlock(&chunks->mutex);
}
