#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hash_thread.h"
#include "sha256_library.h"

/* More of them are hashed where they lie. */
#define COPIED_BYTES_MAX (16 * 1024)

static void *run(void *data)
{
	struct hash_thread *thread = data;
	pthread_mutex_lock(&thread->mutex);
	for (;;) {
		while (thread->done == thread->put && !thread->is_ending)
			pthread_cond_wait(&thread->changed, &thread->mutex);
		if (thread->done == thread->put)
			break;
		size_t i = thread->done % HASH_BUFFERS;
		const uint8_t *bytes = thread->pieces[i].bytes;
		size_t length = thread->pieces[i].length;
		bool is_good = !thread->has_failed;
		pthread_mutex_unlock(&thread->mutex);
		is_good = is_good && sha256_update(thread->hash, bytes, length);
		pthread_mutex_lock(&thread->mutex);
		thread->has_failed |= !is_good;
		thread->done++;
		if (thread->put - thread->done <= HASH_BUFFERS / 2)
			pthread_cond_signal(&thread->changed);
	}
	pthread_mutex_unlock(&thread->mutex);
	return NULL;
}

int hash_thread_begin(struct hash_thread *thread, void *hash)
{
	*thread = (struct hash_thread){.hash = hash, .buffers = malloc((size_t)HASH_BUFFERS * HASH_BUFFER_BYTES)};
	if (!thread->buffers)
		return -ENOMEM;
	pthread_mutex_init(&thread->mutex, NULL);
	pthread_cond_init(&thread->changed, NULL);
	int error = pthread_create(&thread->thread, NULL, run, thread);
	thread->is_running = error == 0;
	return -error;
}

static void put_in_line(struct hash_thread *thread, const uint8_t *bytes, size_t length)
{
	pthread_mutex_lock(&thread->mutex);
	size_t i = thread->put % HASH_BUFFERS;
	thread->pieces[i].bytes = bytes;
	thread->pieces[i].length = length;
	thread->put++;
	pthread_cond_signal(&thread->changed);
	/* The next one's buffer has to be free. When there is none, it waits for many: to be woken for each would be a fifth of the time. */
	if (thread->put - thread->done == HASH_BUFFERS)
		while (thread->put - thread->done > HASH_BUFFERS / 2)
			pthread_cond_wait(&thread->changed, &thread->mutex);
	pthread_mutex_unlock(&thread->mutex);
}

static uint8_t *buffer_of(struct hash_thread *thread)
{
	return thread->buffers + thread->put % HASH_BUFFERS * HASH_BUFFER_BYTES;
}

static void flush(struct hash_thread *thread)
{
	size_t length = thread->filled;
	thread->filled = 0;
	if (length > 0)
		put_in_line(thread, buffer_of(thread), length);
}

uint8_t *hash_thread_room(struct hash_thread *thread, size_t *room)
{
	if (thread->filled == HASH_BUFFER_BYTES)
		flush(thread);
	*room = HASH_BUFFER_BYTES - thread->filled;
	return buffer_of(thread) + thread->filled;
}

void hash_thread_filled(struct hash_thread *thread, size_t length)
{
	thread->filled += length;
}

void hash_thread_put(struct hash_thread *thread, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	if (length > COPIED_BYTES_MAX) {
		flush(thread);
		put_in_line(thread, from, length);
		return;
	}
	while (length > 0) {
		size_t room;
		uint8_t *into = hash_thread_room(thread, &room);
		size_t part = length < room ? length : room;
		memcpy(into, from, part);
		hash_thread_filled(thread, part);
		from += part;
		length -= part;
	}
}

int hash_thread_end(struct hash_thread *thread)
{
	if (thread->is_running) {
		flush(thread);
		pthread_mutex_lock(&thread->mutex);
		thread->is_ending = true;
		pthread_cond_signal(&thread->changed);
		pthread_mutex_unlock(&thread->mutex);
		pthread_join(thread->thread, NULL);
	}
	if (thread->buffers) {
		pthread_cond_destroy(&thread->changed);
		pthread_mutex_destroy(&thread->mutex);
	}
	free(thread->buffers);
	return thread->has_failed ? -EIO : 0;
}
