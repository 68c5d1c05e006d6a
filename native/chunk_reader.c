/*
 * Answers READ requests of a FUSE mount whose bytes are known to lie in chunks of a folder of the local disk. What is small
 * and in the page cache is answered on the spot; for the rest there are threads, so that JavaScript never waits for a disk.
 *
 * JavaScript decides which chunks; here they are read, decompressed, compared with their digests, and sent. A request that
 * cannot be answered for whatever reason goes back to JavaScript, which finds out what is wrong.
 */
#define _GNU_SOURCE
#include "chunk_reader.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "chunk_file.h"
#include "values.h"
#include "zstd.h"

/* Disks like several requests at a time; with the contents in the page cache two are enough. */
#define THREADS 4
/* As READ_PLAN_SPANS_MAX and READ_PLAN_CHUNK_BYTES_MAX in src/support/limits.ts. */
#define SPANS_MAX 64
#define CHUNK_MAX (16 << 20)
/* Chunks that are kept because only a part of them was read. */
#define KEPT_MAX 64
#define KEPT_BYTES_MAX (32 << 20)
/* What is answered on the spot: below it a trip to a thread costs more. */
#define AT_ONCE_MAX 65536
/* As FUSE_READ_BYTES_MAX in src/support/limits.ts. */
#define READ_MAX (1 << 20)

/* As src/mount/tree/read-plan.ts writes it. */
struct span {
	uint8_t digest[BLAKE3_BYTES];
	/* Of the chunk; and which of its bytes */
	uint32_t size, from, to, padding;
};

struct request {
	struct request *next;
	/* The rest comes from JavaScript. */
	uint64_t unique, inode, offset;
	uint32_t size, count;
	struct span spans[];
};
#define REQUEST_HEAD offsetof(struct request, unique)

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

/* Memory of one thread, likewise. */
struct scratch {
	struct frame_room frame;
	uint8_t contents[READ_MAX];
};

struct reader {
	int device, folder;
	pthread_mutex_t mutex;
	pthread_cond_t work, loaded;
	struct request *first, **last;
	bool stopping;
	struct kept kept[KEPT_MAX];
	size_t kept_bytes;
	uint64_t clock;
	_Atomic uint64_t bytes;
	/* For reading on the thread of JavaScript. */
	struct frame_room room;
	uint8_t contents[AT_ONCE_MAX];
	/* Lives as long as a thread does; calls JavaScript with requests that could not be answered. */
	napi_threadsafe_function failed;
	napi_deferred stopped;
};

struct reply {
	struct {
		uint32_t length;
		int32_t error;
		uint64_t unique;
	} header;
	struct iovec parts[1 + SPANS_MAX];
	struct kept *used[SPANS_MAX];
	size_t count, whole_bytes;
};

/* The place used longest ago, made large enough; NULL when all are in use. */
static struct kept *free_place(struct reader *reader, size_t size)
{
	struct kept *place = NULL;
	for (struct kept *kept = reader->kept; kept < reader->kept + KEPT_MAX; kept++)
		if (kept->users == 0 && (!place || kept->last_used < place->last_used))
			place = kept;
	if (!place)
		return NULL;
	place->size = 0;
	if (place->room >= size)
		return place;
	if (reader->kept_bytes - place->room + size > KEPT_BYTES_MAX)
		return NULL;
	free(place->bytes);
	place->bytes = malloc(size);
	reader->kept_bytes -= place->room;
	place->room = place->bytes ? size : 0;
	reader->kept_bytes += place->room;
	return place->bytes ? place : NULL;
}

static struct kept *find_kept(struct reader *reader, const struct span *span)
{
	for (struct kept *kept = reader->kept; kept < reader->kept + KEPT_MAX; kept++)
		if (kept->size == span->size && memcmp(kept->digest, span->digest, BLAKE3_BYTES) == 0)
			return kept;
	return NULL;
}

static void release(struct reader *reader, struct kept *kept)
{
	pthread_mutex_lock(&reader->mutex);
	kept->users--;
	pthread_mutex_unlock(&reader->mutex);
}

/* The chunk of a span, in use; NULL when it cannot be had, or there is no place for it. */
static struct kept *keep_chunk(struct reader *reader, const struct span *span, struct frame_room *room)
{
	pthread_mutex_lock(&reader->mutex);
	struct kept *kept = find_kept(reader, span);
	if (kept) {
		kept->users++;
		while (kept->is_loading)
			pthread_cond_wait(&reader->loaded, &reader->mutex);
	} else if ((kept = free_place(reader, span->size))) {
		memcpy(kept->digest, span->digest, BLAKE3_BYTES);
		kept->size = span->size;
		kept->users = 1;
		kept->is_loading = true;
		pthread_mutex_unlock(&reader->mutex);
		bool is_right = load_verified_chunk(reader->folder, span->digest, kept->bytes, span->size, room, false) ==
		                CHUNK_LOADED;
		pthread_mutex_lock(&reader->mutex);
		kept->is_loading = false;
		/* Whoever waits for it finds that there is none. */
		if (!is_right)
			kept->size = 0;
		pthread_cond_broadcast(&reader->loaded);
	}
	if (kept) {
		kept->last_used = ++reader->clock;
		if (kept->size == 0) {
			kept->users--;
			kept = NULL;
		}
	}
	pthread_mutex_unlock(&reader->mutex);
	return kept;
}

/*
 * The bytes of one span: of a chunk that is kept if more of it may be wanted, else in `scratch`, in which whole chunks lie
 * one behind the other.
 */
static bool add_span(struct reader *reader, const struct span *span, struct reply *reply, struct scratch *scratch)
{
	size_t at = reply->count++;
	uint8_t *bytes = scratch->contents + reply->whole_bytes;
	reply->used[at] = NULL;
	if (span->to - span->from < span->size) {
		reply->used[at] = keep_chunk(reader, span, &scratch->frame);
		if (!reply->used[at])
			return false;
		bytes = reply->used[at]->bytes;
	} else {
		if (span->size > READ_MAX - reply->whole_bytes ||
		    load_verified_chunk(reader->folder, span->digest, bytes, span->size, &scratch->frame, false) != CHUNK_LOADED)
			return false;
		reply->whole_bytes += span->size;
	}
	reply->parts[1 + at] = (struct iovec){bytes + span->from, span->to - span->from};
	return true;
}

/* The kernel says ENOENT for what it no longer wants. */
static void send_reply(struct reader *reader, const struct request *request, struct reply *reply)
{
	size_t length = sizeof reply->header;
	for (size_t i = 1; i <= reply->count; i++)
		length += reply->parts[i].iov_len;
	reply->header.length = length;
	reply->header.error = 0;
	reply->header.unique = request->unique;
	reply->parts[0] = (struct iovec){&reply->header, sizeof reply->header};
	if (writev(reader->device, reply->parts, 1 + reply->count) > 0)
		atomic_fetch_add(&reader->bytes, length - sizeof reply->header);
}

static bool answer(struct reader *reader, const struct request *request, struct scratch *scratch)
{
	struct reply reply;
	bool is_whole = true;
	reply.count = reply.whole_bytes = 0;
	for (uint32_t i = 0; i < request->count && is_whole; i++)
		is_whole = add_span(reader, &request->spans[i], &reply, scratch);
	if (is_whole)
		send_reply(reader, request, &reply);
	for (size_t i = 0; i < reply.count; i++)
		if (reply.used[i])
			release(reader, reply.used[i]);
	return is_whole;
}

/* NULL when the threads are to end; what waits then is nobody's concern: the mount is gone. */
static struct request *take(struct reader *reader)
{
	pthread_mutex_lock(&reader->mutex);
	while (!reader->first && !reader->stopping)
		pthread_cond_wait(&reader->work, &reader->mutex);
	struct request *request = reader->stopping ? NULL : reader->first;
	if (request) {
		reader->first = request->next;
		if (!request->next)
			reader->last = &reader->first;
	}
	pthread_mutex_unlock(&reader->mutex);
	return request;
}

static void *run(void *argument)
{
	struct reader *reader = argument;
	struct scratch *scratch = calloc(1, sizeof *scratch);
	for (struct request *request; (request = take(reader));)
		if ((scratch && answer(reader, request, scratch)) ||
		    napi_call_threadsafe_function(reader->failed, request, napi_tsfn_blocking) != napi_ok)
			free(request);
	if (scratch)
		free(scratch->frame.bytes);
	free(scratch);
	napi_release_threadsafe_function(reader->failed, napi_tsfn_release);
	return NULL;
}

/* On the thread of JavaScript: failed(uniqueLow, uniqueHigh, inode, offset, size). */
static void call_failed(napi_env env, napi_value callback, void *context, void *data)
{
	struct request *request = data;
	napi_value args[5], receiver;
	(void)context;
	if (env) {
		args[0] = integer(env, request->unique & UINT32_MAX);
		args[1] = integer(env, request->unique >> 32);
		args[2] = integer(env, request->inode);
		args[3] = integer(env, request->offset);
		args[4] = integer(env, request->size);
		napi_get_undefined(env, &receiver);
		napi_call_function(env, receiver, callback, 5, args, NULL);
	}
	free(request);
}

/* On the thread of JavaScript, when the last thread has ended. */
static void all_stopped(napi_env env, void *data, void *hint)
{
	struct reader *reader = data;
	napi_value nothing;
	(void)hint;
	if (reader->stopped && napi_get_undefined(env, &nothing) == napi_ok)
		napi_resolve_deferred(env, reader->stopped, nothing);
	for (struct request *request = reader->first, *next; request; request = next) {
		next = request->next;
		free(request);
	}
	for (struct kept *kept = reader->kept; kept < reader->kept + KEPT_MAX; kept++)
		free(kept->bytes);
	free(reader->room.bytes);
	close(reader->folder);
	close(reader->device);
	free(reader);
}

static void start_thread(struct reader *reader)
{
	pthread_t thread;
	if (napi_acquire_threadsafe_function(reader->failed) != napi_ok)
		return;
	if (pthread_create(&thread, NULL, run, reader) == 0)
		pthread_detach(thread);
	else
		napi_release_threadsafe_function(reader->failed, napi_tsfn_release);
}

/* startReader(device, folder, failed): threads that read the chunks below `folder`; an object for the others, or -errno. */
napi_value start_reader(napi_env env, napi_callback_info info)
{
	napi_value args[3], name, external;
	size_t argc = 3;
	char folder[STRING_MAX];
	int device;
	struct reader *reader = calloc(1, sizeof *reader);
	if (!reader)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int error = EINVAL;
	reader->folder = reader->device = -1;
	if (napi_get_value_int32(env, args[0], &device) != napi_ok || !string_of(env, args[1], folder))
		goto failed;
	error = ENOSYS;
	if (!zstd_found())
		goto failed;
	/* One of its own: a thread may be about to write when the mount ends, and the number be another file's by then. */
	reader->device = fcntl(device, F_DUPFD_CLOEXEC, 0);
	reader->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	if (reader->device < 0 || reader->folder < 0)
		goto failed;
	pthread_mutex_init(&reader->mutex, NULL);
	pthread_cond_init(&reader->work, NULL);
	pthread_cond_init(&reader->loaded, NULL);
	reader->last = &reader->first;
	napi_create_string_utf8(env, "tvix-store:chunk-reader", NAPI_AUTO_LENGTH, &name);
	error = ENOMEM;
	if (napi_create_threadsafe_function(env, args[2], NULL, name, 0, 1, reader, all_stopped, reader, call_failed,
	                                    &reader->failed) != napi_ok)
		goto failed;
	/* It is no reason for the process to stay. */
	napi_unref_threadsafe_function(env, reader->failed);
	for (int i = 0; i < THREADS; i++)
		start_thread(reader);
	napi_create_external(env, reader, NULL, NULL, &external);
	return external;
failed:
	if (reader->folder >= 0)
		close(reader->folder);
	if (reader->device >= 0)
		close(reader->device);
	free(reader);
	return integer(env, -error);
}

/* False for what would be a mistake of ours. */
static bool is_valid(const struct request *request, size_t length)
{
	if (request->count == 0 || request->count > SPANS_MAX ||
	    length != sizeof *request - REQUEST_HEAD + request->count * sizeof(struct span))
		return false;
	for (uint32_t i = 0; i < request->count; i++) {
		const struct span *span = &request->spans[i];
		if (span->size > CHUNK_MAX || span->from >= span->to || span->to > span->size)
			return false;
	}
	return true;
}

/* A small file that is in the page cache of the folder. */
static bool answer_at_once(struct reader *reader, const struct request *request)
{
	const struct span *span = &request->spans[0];
	if (request->count != 1 || span->size > AT_ONCE_MAX ||
	    load_verified_chunk(reader->folder, span->digest, reader->contents, span->size, &reader->room, true) !=
	        CHUNK_LOADED)
		return false;
	struct reply reply;
	reply.count = 1;
	reply.parts[1] = (struct iovec){reader->contents + span->from, span->to - span->from};
	send_reply(reader, request, &reply);
	return true;
}

/* readChunks(reader, plan): 0 when the kernel has its answer; 1 when it will get it, or `failed` will be called; -errno. */
napi_value read_chunks(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	uint8_t *data;
	struct reader *reader;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok || !bytes_of(env, args[1], &data, &length) ||
	    length < sizeof(struct request) - REQUEST_HEAD)
		return integer(env, -EINVAL);
	struct request *request = malloc(REQUEST_HEAD + length);
	if (!request)
		return integer(env, -ENOMEM);
	request->next = NULL;
	memcpy((uint8_t *)request + REQUEST_HEAD, data, length);
	bool valid = is_valid(request, length);
	if (!valid || answer_at_once(reader, request)) {
		free(request);
		return integer(env, valid ? 0 : -EINVAL);
	}
	pthread_mutex_lock(&reader->mutex);
	*reader->last = request;
	reader->last = &request->next;
	pthread_cond_signal(&reader->work);
	pthread_mutex_unlock(&reader->mutex);
	return integer(env, 1);
}

/* readerBytes(reader): what the kernel was given. */
napi_value reader_bytes(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	struct reader *reader;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, atomic_load(&reader->bytes));
}

/* stopReader(reader): a promise that resolves when no thread is left. The object must not be used afterwards. */
napi_value stop_reader(napi_env env, napi_callback_info info)
{
	napi_value args[1], promise;
	size_t argc = 1;
	struct reader *reader;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok)
		return integer(env, -EINVAL);
	napi_create_promise(env, &reader->stopped, &promise);
	napi_ref_threadsafe_function(env, reader->failed);
	pthread_mutex_lock(&reader->mutex);
	reader->stopping = true;
	pthread_cond_broadcast(&reader->work);
	pthread_mutex_unlock(&reader->mutex);
	napi_release_threadsafe_function(reader->failed, napi_tsfn_release);
	return promise;
}
