/*
 * Answers READ requests whose bytes are known to lie in chunks of a folder of the local disk: those of a FUSE mount by writing
 * to its device, those of virtual machines by filling memory of JavaScript, which owns their queues. What is small and in the
 * page cache, or was read just before, is answered on the spot; for the rest there are threads, so that JavaScript never
 * waits for a disk.
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
#include "kept_chunks.h"
#include "values.h"
#include "zstd.h"

/* Disks like several requests at a time; with the contents in the page cache two are enough. */
#define THREADS 4
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
};

struct request {
	struct request *next;
	/* NULL where the answer goes to the device; stays while `keep` does. */
	uint8_t *into;
	napi_ref keep;
	bool is_filled;
	/* The rest comes from JavaScript. */
	uint64_t unique, inode, offset;
	uint32_t size, count;
	struct span spans[];
};
#define REQUEST_HEAD offsetof(struct request, unique)

/* Memory of one thread: mapping and clearing it anew costs more than filling it. */
struct scratch {
	struct frame_room frame;
	uint8_t contents[READ_MAX];
};

struct reader {
	int device, folder;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct request *first, **last;
	bool stopping;
	struct kept_chunks kept;
	_Atomic uint64_t bytes;
	/* For reading on the thread of JavaScript. */
	struct frame_room room;
	uint8_t contents[AT_ONCE_MAX];
	/* Lives as long as a thread does; calls JavaScript with requests that could not be answered, or that fill memory of it. */
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
		reply->used[at] = keep_chunk(&reader->kept, reader->folder, span->digest, span->size, &scratch->frame);
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
			release_chunk(&reader->kept, reply.used[i]);
	return is_whole;
}

/* What a span wants, into memory that has room for it. */
static bool fill_span(struct reader *reader, const struct span *span, uint8_t *into, struct frame_room *room)
{
	if (span->to - span->from == span->size)
		return load_verified_chunk(reader->folder, span->digest, into, span->size, room, false) == CHUNK_LOADED;
	struct kept *kept = keep_chunk(&reader->kept, reader->folder, span->digest, span->size, room);
	if (!kept)
		return false;
	memcpy(into, kept->bytes + span->from, span->to - span->from);
	release_chunk(&reader->kept, kept);
	return true;
}

static bool fill(struct reader *reader, const struct request *request, struct frame_room *room)
{
	uint8_t *into = request->into;
	for (const struct span *span = request->spans; span < request->spans + request->count; span++) {
		if (!fill_span(reader, span, into, room))
			return false;
		into += span->to - span->from;
	}
	return true;
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
	for (struct request *request; (request = take(reader));) {
		if (request->into)
			request->is_filled = scratch && fill(reader, request, &scratch->frame);
		else if (scratch && answer(reader, request, scratch)) {
			free(request);
			continue;
		}
		/* Only when the environment ends is it not taken, and its references with it. */
		if (napi_call_threadsafe_function(reader->failed, request, napi_tsfn_blocking) != napi_ok)
			free(request);
	}
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

/* On the thread of JavaScript: filled(ticket, isFilled). */
static void call_filled(napi_env env, napi_value callback, void *context, void *data)
{
	struct request *request = data;
	napi_value args[2], receiver;
	(void)context;
	if (env) {
		napi_delete_reference(env, request->keep);
		args[0] = integer(env, request->unique);
		napi_get_boolean(env, request->is_filled, &args[1]);
		napi_get_undefined(env, &receiver);
		napi_call_function(env, receiver, callback, 2, args, NULL);
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
		if (request->keep)
			napi_delete_reference(env, request->keep);
		free(request);
	}
	free_kept_chunks(&reader->kept);
	free(reader->room.bytes);
	close(reader->folder);
	if (reader->device >= 0)
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

/* `device`: less than 0 without one. An object for the others, or -errno. */
static napi_value start(napi_env env, int device, const char *folder, napi_value callback,
                        napi_threadsafe_function_call_js call)
{
	napi_value name, external;
	struct reader *reader = calloc(1, sizeof *reader);
	if (!reader)
		return integer(env, -ENOMEM);
	int error = ENOSYS;
	reader->folder = reader->device = -1;
	if (!zstd_found())
		goto failed;
	/* One of its own: a thread may be about to write when the mount ends, and the number be another file's by then. */
	if (device >= 0)
		reader->device = fcntl(device, F_DUPFD_CLOEXEC, 0);
	reader->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	error = errno;
	if ((device >= 0 && reader->device < 0) || reader->folder < 0)
		goto failed;
	pthread_mutex_init(&reader->mutex, NULL);
	pthread_cond_init(&reader->work, NULL);
	init_kept_chunks(&reader->kept);
	reader->last = &reader->first;
	napi_create_string_utf8(env, "tvix-store:chunk-reader", NAPI_AUTO_LENGTH, &name);
	error = ENOMEM;
	if (napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, reader, all_stopped, reader, call,
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

/* startReader(device, folder, failed): threads that read the chunks below `folder`; an object for the others, or -errno. */
napi_value start_reader(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	char folder[STRING_MAX];
	int device;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &device) != napi_ok || device < 0 || !string_of(env, args[1], folder))
		return integer(env, -EINVAL);
	return start(env, device, folder, args[2], call_failed);
}

/* startMemoryReader(folder, filled): the same without a device, for readInto; `filled(ticket, isFilled)` hears of what was queued. */
napi_value start_memory_reader(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	char folder[STRING_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], folder))
		return integer(env, -EINVAL);
	return start(env, -1, folder, args[1], call_filled);
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

/* From chunks that are kept, all of them. */
static bool fill_at_once(struct reader *reader, const struct request *request)
{
	struct kept *used[SPANS_MAX];
	uint32_t count = 0;
	for (; count < request->count; count++)
		if (!(used[count] = find_chunk(&reader->kept, request->spans[count].digest, request->spans[count].size)))
			break;
	bool is_whole = count == request->count;
	uint8_t *into = request->into;
	for (uint32_t i = 0; i < count; i++) {
		const struct span *span = &request->spans[i];
		if (is_whole)
			memcpy(into, used[i]->bytes + span->from, span->to - span->from);
		into += span->to - span->from;
		release_chunk(&reader->kept, used[i]);
	}
	return is_whole;
}

static void enqueue(struct reader *reader, struct request *request)
{
	pthread_mutex_lock(&reader->mutex);
	*reader->last = request;
	reader->last = &request->next;
	pthread_cond_signal(&reader->work);
	pthread_mutex_unlock(&reader->mutex);
}

/* A copy of a plan; NULL with the error for one that is wrong. */
static struct request *request_of(const uint8_t *plan, size_t length, int *error)
{
	*error = EINVAL;
	if (length < sizeof(struct request) - REQUEST_HEAD)
		return NULL;
	struct request *request = calloc(1, REQUEST_HEAD + length);
	*error = ENOMEM;
	if (!request)
		return NULL;
	memcpy((uint8_t *)request + REQUEST_HEAD, plan, length);
	if (is_valid(request, length))
		return request;
	*error = EINVAL;
	free(request);
	return NULL;
}

static size_t total(const struct request *request)
{
	size_t length = 0;
	for (uint32_t i = 0; i < request->count; i++)
		length += request->spans[i].to - request->spans[i].from;
	return length;
}

/*
 * readInto(reader, plan, into): 1 when what the plan wants lies there; 0 when it will, or will not, as `filled` is going to
 * say: `into` must not be touched until then; -errno.
 */
napi_value read_into(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, length, room;
	uint8_t *plan, *into;
	struct reader *reader;
	int error;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok || !bytes_of(env, args[1], &plan, &length) ||
	    !bytes_of(env, args[2], &into, &room))
		return integer(env, -EINVAL);
	struct request *request = request_of(plan, length, &error);
	if (!request)
		return integer(env, -error);
	request->into = into;
	if (total(request) > room || napi_create_reference(env, args[2], 1, &request->keep) != napi_ok) {
		free(request);
		return integer(env, -EINVAL);
	}
	bool is_filled = fill_at_once(reader, request);
	if (is_filled) {
		napi_delete_reference(env, request->keep);
		free(request);
	} else {
		enqueue(reader, request);
	}
	return integer(env, is_filled);
}

/* readChunks(reader, plan): 0 when the kernel has its answer; 1 when it will get it, or `failed` will be called; -errno. */
napi_value read_chunks(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	uint8_t *data;
	struct reader *reader;
	int error;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok || !bytes_of(env, args[1], &data, &length))
		return integer(env, -EINVAL);
	struct request *request = request_of(data, length, &error);
	if (!request)
		return integer(env, -error);
	if (answer_at_once(reader, request)) {
		free(request);
		return integer(env, 0);
	}
	enqueue(reader, request);
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
