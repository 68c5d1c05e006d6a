/* SHA-256 on a thread of its own: what is hashed is read meanwhile, into one buffer after the other. */
#ifndef TVIX_STORE_HASH_THREAD_H
#define TVIX_STORE_HASH_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HASH_BUFFERS 4
#define HASH_BUFFER_BYTES (256 * 1024)

struct hash_thread {
	void *hash;
	/* Bytes in line to be hashed; the one with number n is `pieces[n % HASH_BUFFERS]`, and so is its buffer, if it needs one. */
	struct {
		const uint8_t *bytes;
		size_t length;
	} pieces[HASH_BUFFERS];
	uint8_t *buffers;
	/* How many were put in line, how many were hashed, and what is in the buffer of the next. */
	uint64_t put, done;
	size_t filled;
	bool is_running, is_ending, has_failed;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
};

/* 0 or -errno. */
int hash_thread_begin(struct hash_thread *thread, void *hash);

/* What is left of the buffer that is being filled, at least a byte; `hash_thread_filled` says how much was put there. */
uint8_t *hash_thread_room(struct hash_thread *thread, size_t *room);
void hash_thread_filled(struct hash_thread *thread, size_t length);

/* Bytes that stay where they are until the end; few of them are copied. */
void hash_thread_put(struct hash_thread *thread, const void *bytes, size_t length);

/* When all is hashed: 0 or -errno. */
int hash_thread_end(struct hash_thread *thread);

#endif
