/*
 * See chunk_reader.h. JavaScript decides which chunks; here they are read, decompressed, compared with their digests, and handed
 * on. A request that cannot be answered for whatever reason goes back to JavaScript, which finds out what is wrong.
 */
#define _GNU_SOURCE
#include "chunk_reader.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source_values.h"
#include "values.h"

/* Disks like several requests at a time; with the contents in the page cache two are enough. */
#define THREADS 4
#define REQUEST_HEAD offsetof(struct request, unique)

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

static void load_ahead(struct reader *reader, const struct request *request, struct scratch *scratch)
{
	for (uint32_t i = 0; i < request->count && scratch; i++) {
		const struct chunk chunk = chunk_of(request, &request->spans[i]);
		struct kept *kept = keep_chunk(&reader->kept, reader->source, &chunk, &scratch->frame);
		if (kept)
			release_chunk(&reader->kept, kept);
	}
	atomic_fetch_sub(&reader->ahead, 1);
}

/* True when JavaScript need not hear of it. */
static bool serve(struct reader *reader, struct request *request, struct scratch *scratch)
{
	if (!request->is_ahead)
		return reader->serve(reader, request, scratch);
	load_ahead(reader, request, scratch);
	return true;
}

static void *run(void *argument)
{
	struct reader *reader = argument;
	struct scratch *scratch = calloc(1, sizeof *scratch);
	for (struct request *request; (request = take(reader));) {
		bool is_done = serve(reader, request, scratch);
		/* Only when the environment ends is it not taken, and its references with it. */
		if (is_done || napi_call_threadsafe_function(reader->told, request, napi_tsfn_blocking) != napi_ok)
			free(request);
	}
	if (scratch)
		free(scratch->frame.bytes);
	free(scratch);
	napi_release_threadsafe_function(reader->told, napi_tsfn_release);
	return NULL;
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
	close_chunk_source(reader->source);
	if (reader->device >= 0)
		close(reader->device);
	free(reader);
}

static void start_thread(struct reader *reader)
{
	pthread_t thread;
	if (napi_acquire_threadsafe_function(reader->told) != napi_ok)
		return;
	if (pthread_create(&thread, NULL, run, reader) == 0)
		pthread_detach(thread);
	else
		napi_release_threadsafe_function(reader->told, napi_tsfn_release);
}

napi_value start_reader_threads(napi_env env, int device, napi_value kind, napi_value folder, napi_value callback,
                                const struct reader_work *work)
{
	napi_value name, external;
	struct reader *reader = calloc(1, sizeof *reader);
	if (!reader)
		return integer(env, -ENOMEM);
	reader->device = -1;
	reader->serve = work->serve;
	int error = source_of(env, kind, folder, &reader->source);
	if (error)
		goto failed;
	/* One of its own: a thread may be about to write when the mount ends, and the number be another file's by then. */
	if (device >= 0 && (reader->device = fcntl(device, F_DUPFD_CLOEXEC, 0)) < 0) {
		error = errno;
		goto failed;
	}
	pthread_mutex_init(&reader->mutex, NULL);
	pthread_cond_init(&reader->work, NULL);
	init_kept_chunks(&reader->kept);
	reader->last = &reader->first;
	napi_create_string_utf8(env, "tvix-store:chunk-reader", NAPI_AUTO_LENGTH, &name);
	error = ENOMEM;
	if (napi_create_threadsafe_function(env, callback, NULL, name, 0, 1, reader, all_stopped, reader, work->call,
	                                    &reader->told) != napi_ok)
		goto failed;
	/* It is no reason for the process to stay. */
	napi_unref_threadsafe_function(env, reader->told);
	for (int i = 0; i < THREADS; i++)
		start_thread(reader);
	napi_create_external(env, reader, NULL, NULL, &external);
	return external;
failed:
	close_chunk_source(reader->source);
	if (reader->device >= 0)
		close(reader->device);
	free(reader);
	return integer(env, -error);
}

/* False for what would be a mistake of ours. */
static bool is_valid(const struct chunk_source *source, const struct request *request, size_t length)
{
	const struct known_part *known = &request->known;
	if (known->length > 0 && (request->count > 0 || kind_of(source) != SOURCE_RAW || known->length > READ_MAX ||
	                          known->offset > known->file.size || known->length > known->file.size - known->offset))
		return false;
	if ((request->count == 0 && known->length == 0) || request->count > SPANS_MAX ||
	    length != sizeof *request - REQUEST_HEAD + request->count * sizeof(struct span))
		return false;
	for (uint32_t i = 0; i < request->count; i++) {
		const struct span *span = &request->spans[i];
		if (span->size > CHUNK_MAX || span->from >= span->to || span->to > span->size)
			return false;
	}
	return true;
}

struct request *request_of(const struct reader *reader, const uint8_t *plan, size_t length, int *error)
{
	*error = EINVAL;
	if (length < sizeof(struct request) - REQUEST_HEAD)
		return NULL;
	struct request *request = calloc(1, REQUEST_HEAD + length);
	*error = ENOMEM;
	if (!request)
		return NULL;
	memcpy((uint8_t *)request + REQUEST_HEAD, plan, length);
	if (is_valid(reader->source, request, length))
		return request;
	*error = EINVAL;
	free(request);
	return NULL;
}

void enqueue_request(struct reader *reader, struct request *request)
{
	pthread_mutex_lock(&reader->mutex);
	*reader->last = request;
	reader->last = &request->next;
	pthread_mutex_unlock(&reader->mutex);
	/* Not before: who wakes up may run at once, and would have to wait for the mutex. */
	pthread_cond_signal(&reader->work);
}

napi_value stop_reader(napi_env env, napi_callback_info info)
{
	napi_value args[1], promise;
	size_t argc = 1;
	struct reader *reader;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok)
		return integer(env, -EINVAL);
	napi_create_promise(env, &reader->stopped, &promise);
	napi_ref_threadsafe_function(env, reader->told);
	pthread_mutex_lock(&reader->mutex);
	reader->stopping = true;
	pthread_cond_broadcast(&reader->work);
	pthread_mutex_unlock(&reader->mutex);
	napi_release_threadsafe_function(reader->told, napi_tsfn_release);
	return promise;
}
