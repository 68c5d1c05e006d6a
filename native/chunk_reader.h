/*
 * What reads of files that lie as chunks on the local disk have in common, whoever is answered: requests, threads that carry them
 * out, and the memory they share. See device_reads.c and memory_reads.c.
 */
#ifndef TVIX_STORE_CHUNK_READER_H
#define TVIX_STORE_CHUNK_READER_H

#include <node_api.h>
#include <pthread.h>

#include "kept_chunks.h"

/* As READ_PLAN_SPANS_MAX and READ_PLAN_CHUNK_BYTES_MAX in src/support/limits.ts. */
#define SPANS_MAX 64
#define CHUNK_MAX (16 << 20)
/* As FUSE_READ_BYTES_MAX in src/support/limits.ts. */
#define READ_MAX (1 << 20)

/* As src/mount/tree/read-plan.ts writes it. */
struct span {
	uint8_t digest[BLAKE3_BYTES];
	/* Of the chunk; and which of its bytes */
	uint32_t size, from, to, padding;
	struct place place;
};

/* A part of a raw blob whose file is known to be right as it lies; `length` 0: there is none, but spans. */
struct known_part {
	struct file_state file;
	uint64_t offset;
	uint32_t length, padding;
};

struct request {
	struct request *next;
	/* NULL where the answer goes to the device; stays while `keep` does. */
	uint8_t *into;
	napi_ref keep;
	bool is_filled;
	/* Nobody waits for it: its chunks are to be kept for those who will. */
	bool is_ahead;
	/* The rest comes from JavaScript. */
	uint64_t unique, inode, offset;
	uint32_t size, count;
	uint8_t blob[BLAKE3_BYTES];
	struct known_part known;
	struct span spans[];
};

/* Memory of one thread: mapping and clearing it anew costs more than filling it. */
struct scratch {
	struct frame_room frame;
	uint8_t contents[READ_MAX];
};

struct reader {
	/* Less than 0 without one. */
	int device;
	struct chunk_source *source;
	/* On a thread: true when JavaScript need not hear of the request any more. `scratch` is NULL without memory for it. */
	bool (*serve)(struct reader *reader, struct request *request, struct scratch *scratch);
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct request *first, **last;
	bool stopping;
	struct kept_chunks kept;
	/* Requests that nobody waits for, and that are not done. */
	_Atomic uint32_t ahead;
	/* What the kernel was given. */
	_Atomic uint64_t bytes;
	/* For reading on the thread of JavaScript; and of which file that last read more than AT_ONCE_MAX. */
	struct frame_room room;
	uint8_t contents[READ_MAX];
	uint64_t streamed;
	/* Lives as long as a thread does; calls JavaScript with the requests that it is to hear of. */
	napi_threadsafe_function told;
	napi_deferred stopped;
};

/* How a reader does its work. */
struct reader_work {
	bool (*serve)(struct reader *reader, struct request *request, struct scratch *scratch);
	napi_threadsafe_function_call_js call;
};

static inline struct chunk chunk_of(const struct request *request, const struct span *span)
{
	return (struct chunk){.digest = span->digest, .blob = request->blob, .size = span->size, .place = span->place};
}

/* What the known part of a request wants. */
static inline enum load_outcome load_known(struct chunk_source *source, const struct request *request, uint8_t *into,
                                           bool at_once)
{
	const struct known_part *part = &request->known;
	return load_known_part(source, request->blob, &part->file, part->offset, part->length, into, at_once);
}

/* `device`: duplicated; less than 0 without one. An object for JavaScript, or -errno. */
napi_value start_reader_threads(napi_env env, int device, napi_value kind, napi_value folder, napi_value callback,
                                const struct reader_work *work);

/* A copy of a plan; NULL with the number of the error for one that is wrong. */
struct request *request_of(const struct reader *reader, const uint8_t *plan, size_t length, int *error);

/* Gives a request to the threads. */
void enqueue_request(struct reader *reader, struct request *request);

/* stopReader(reader): a promise that resolves when no thread is left. The object must not be used afterwards. */
napi_value stop_reader(napi_env env, napi_callback_info info);

#endif
