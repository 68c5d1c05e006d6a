/*
 * Threads that put files into the page cache of a FUSE mount with FUSE_NOTIFY_STORE (linux/fuse.h), so that reading
 * them causes no request. They never run on the thread that answers reads: a store waits for pages that a read has
 * locked, and that read waits for its answer.
 *
 * JavaScript decides what is pushed; here a file is read, decompressed, compared with its digest, and handed over.
 * What cannot be pushed for whatever reason is left alone: whoever reads it asks, and gets the answer or the error.
 */
#define _GNU_SOURCE
#include "page_filler.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "chunk_file.h"
#include "source_values.h"
#include "values.h"

/* One keeps ahead of one reader; beside it and the thread of JavaScript, a second one takes the processor from them where there are two. */
#define THREADS_MAX 2
/* Files that a thread takes at a time: as many as are hashed side by side. */
#define SHARE 16
/* What a record may announce; no less than FILL_FILE_BYTES_MAX in src/support/limits.ts. */
#define FILE_MAX 65536
/* Records that wait; more is refused, unless it is urgent. What waits here can no longer be put behind something else. */
#define WAITING_MAX 1024
/* Who was refused is asked for more while so many still wait: the threads are to have work until it comes. */
#define WAITING_FEW 512
#define NOTIFY_STORE 4

/* As FILL_RECORD in src/mount/tree/fill-ahead.ts. */
struct record {
	uint64_t nodeid;
	uint32_t size;
	uint32_t padding;
	uint8_t digest[BLAKE3_BYTES];
	struct place place;
};

struct batch {
	struct batch *next;
	size_t count, taken;
	struct record records[];
};

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

struct filler {
	int device;
	struct chunk_source *source;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct batch *first, **last;
	/* Records */
	size_t waiting;
	/* JavaScript has more, and was told that it is too much. */
	bool refused;
	bool stopping;
	_Atomic uint64_t files, bytes, failed;
	/* Tells JavaScript of room. Lives as long as a thread does; its end resolves the promise of stop_filler. */
	napi_threadsafe_function threads;
	napi_deferred stopped;
};

struct worker {
	struct filler *filler;
	struct frame_room room;
	struct record share[SHARE];
	/* Of the share, one file behind the other; the files of a record that is right always fit. */
	uint8_t contents[SHARE * FILE_MAX];
};

static bool load(struct worker *worker, const struct record *record, uint8_t *into)
{
	const struct chunk chunk = {
	    .digest = record->digest, .blob = record->digest, .size = record->size, .place = record->place};
	return record->size <= FILE_MAX &&
	       load_chunk(worker->filler->source, &chunk, into, &worker->room, false) == CHUNK_LOADED;
}

/* The kernel says ENOENT for what it has forgotten meanwhile. */
static bool store(const struct worker *worker, const struct record *record, const uint8_t *contents)
{
	struct store_message message = {
	    .header = {sizeof message + record->size, NOTIFY_STORE, 0},
	    .store = {record->nodeid, 0, record->size, 0},
	};
	struct iovec parts[2] = {{&message, sizeof message}, {(void *)contents, record->size}};
	return writev(worker->filler->device, parts, 2) >= 0;
}

/* Up to SHARE records; none when the threads are to end. */
static size_t take(struct filler *filler, struct record share[SHARE])
{
	size_t count = 0;
	bool has_room = false;
	pthread_mutex_lock(&filler->mutex);
	while (!filler->first && !filler->stopping)
		pthread_cond_wait(&filler->work, &filler->mutex);
	struct batch *batch = filler->first;
	if (batch && !filler->stopping) {
		count = batch->count - batch->taken < SHARE ? batch->count - batch->taken : SHARE;
		memcpy(share, batch->records + batch->taken, count * sizeof *share);
		batch->taken += count;
		filler->waiting -= count;
		if (batch->taken == batch->count) {
			filler->first = batch->next;
			if (!batch->next)
				filler->last = &filler->first;
			free(batch);
		}
		has_room = filler->refused && filler->waiting <= WAITING_FEW;
		if (has_room)
			filler->refused = false;
	}
	pthread_mutex_unlock(&filler->mutex);
	if (has_room)
		napi_call_threadsafe_function(filler->threads, NULL, napi_tsfn_nonblocking);
	return count;
}

/* All are read first, since their digests are computed side by side. */
static void push(struct worker *worker, size_t count)
{
	struct filler *filler = worker->filler;
	struct blake3_message messages[SHARE] = {{0}};
	uint8_t digests[SHARE][BLAKE3_BYTES], *into = worker->contents;
	const struct record *loaded[SHARE];
	size_t read = 0, pushed = 0, bytes = 0;
	for (const struct record *record = worker->share; record < worker->share + count; record++) {
		if (!load(worker, record, into))
			continue;
		messages[read] = (struct blake3_message){into, record->size, digests[read]};
		loaded[read++] = record;
		into += record->size;
	}
	blake3_many(messages, read);
	for (size_t i = 0; i < read; i++) {
		if (memcmp(digests[i], loaded[i]->digest, BLAKE3_BYTES) != 0 || !store(worker, loaded[i], messages[i].bytes))
			continue;
		pushed++;
		bytes += loaded[i]->size;
	}
	atomic_fetch_add(&filler->files, pushed);
	atomic_fetch_add(&filler->bytes, bytes);
	atomic_fetch_add(&filler->failed, count - pushed);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct filler *filler = worker->filler;
	for (size_t count; (count = take(filler, worker->share)) > 0;)
		push(worker, count);
	free(worker->room.bytes);
	free(worker);
	napi_release_threadsafe_function(filler->threads, napi_tsfn_release);
	return NULL;
}

/* On the thread of JavaScript, when the last thread has ended. */
static void all_stopped(napi_env env, void *data, void *hint)
{
	struct filler *filler = data;
	napi_value nothing;
	(void)hint;
	if (filler->stopped && napi_get_undefined(env, &nothing) == napi_ok)
		napi_resolve_deferred(env, filler->stopped, nothing);
	for (struct batch *batch = filler->first, *next; batch; batch = next) {
		next = batch->next;
		free(batch);
	}
	close_chunk_source(filler->source);
	close(filler->device);
	free(filler);
}

static int threads_for_processors(void)
{
	cpu_set_t ours;
	return sched_getaffinity(0, sizeof ours, &ours) == 0 && CPU_COUNT(&ours) <= 2 ? 1 : THREADS_MAX;
}

static bool start_thread(struct filler *filler)
{
	pthread_t thread;
	struct worker *worker = calloc(1, sizeof *worker);
	if (!worker)
		return false;
	worker->filler = filler;
	if (napi_acquire_threadsafe_function(filler->threads) != napi_ok)
		goto failed;
	if (pthread_create(&thread, NULL, run, worker) != 0) {
		napi_release_threadsafe_function(filler->threads, napi_tsfn_release);
		goto failed;
	}
	pthread_detach(thread);
	return true;
failed:
	free(worker);
	return false;
}

/* On the thread of JavaScript: hasRoom(). Nobody is told of room by threads that are to end. */
static void call_has_room(napi_env env, napi_value callback, void *context, void *data)
{
	struct filler *filler = context;
	napi_value receiver;
	(void)data;
	if (env && !filler->stopped && napi_get_undefined(env, &receiver) == napi_ok)
		napi_call_function(env, receiver, callback, 0, NULL, NULL);
}

/*
 * startFiller(device, kind, folder, hasRoom): threads that read chunks of that source; an object for the others, or -errno.
 * hasRoom is called when more can be taken after mayFill said no.
 */
napi_value start_filler(napi_env env, napi_callback_info info)
{
	napi_value args[4], name, external;
	size_t argc = 4;
	struct filler *filler = calloc(1, sizeof *filler);
	if (!filler)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int error = EINVAL;
	int device;
	filler->device = -1;
	if (napi_get_value_int32(env, args[0], &device) != napi_ok)
		goto failed;
	if ((error = source_of(env, args[1], args[2], &filler->source)) != 0)
		goto failed;
	/* One of its own: the number of a closed one may be another file's by the time a thread writes. */
	filler->device = fcntl(device, F_DUPFD_CLOEXEC, 0);
	error = errno;
	if (filler->device < 0)
		goto failed;
	pthread_mutex_init(&filler->mutex, NULL);
	pthread_cond_init(&filler->work, NULL);
	filler->last = &filler->first;
	napi_create_string_utf8(env, "tvix-store:page-filler", NAPI_AUTO_LENGTH, &name);
	error = ENOMEM;
	if (napi_create_threadsafe_function(env, args[3], NULL, name, 0, 1, filler, all_stopped, filler, call_has_room,
	                                    &filler->threads) != napi_ok)
		goto failed;
	/* It is no reason for the process to stay. */
	napi_unref_threadsafe_function(env, filler->threads);
	for (int i = 0; i < threads_for_processors(); i++)
		start_thread(filler);
	napi_create_external(env, filler, NULL, NULL, &external);
	return external;
failed:
	close_chunk_source(filler->source);
	if (filler->device >= 0)
		close(filler->device);
	free(filler);
	return integer(env, -error);
}

static void enqueue(struct filler *filler, struct batch *batch, bool urgent)
{
	struct batch **place = urgent ? &filler->first : filler->last;
	batch->next = *place;
	*place = batch;
	if (!batch->next)
		filler->last = &batch->next;
	filler->waiting += batch->count;
	pthread_cond_broadcast(&filler->work);
}

/*
 * mayFill(filler, count): whether so many records more are not too many; what waits only becomes less until the next fill. If not,
 * hasRoom will tell.
 */
napi_value may_fill(napi_env env, napi_callback_info info)
{
	napi_value args[2], result;
	size_t argc = 2;
	uint32_t count;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok ||
	    napi_get_value_uint32(env, args[1], &count) != napi_ok)
		return NULL;
	pthread_mutex_lock(&filler->mutex);
	bool may = filler->waiting == 0 || filler->waiting + count <= WAITING_MAX;
	filler->refused = !may;
	pthread_mutex_unlock(&filler->mutex);
	return napi_get_boolean(env, may, &result) == napi_ok ? result : NULL;
}

/* fill(filler, records, urgent): 0, or -errno. */
napi_value fill(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, length;
	uint8_t *data;
	bool urgent;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok ||
	    !bytes_of(env, args[1], &data, &length) || length == 0 || length % sizeof(struct record) != 0 ||
	    napi_get_value_bool(env, args[2], &urgent) != napi_ok)
		return integer(env, -EINVAL);
	struct batch *batch = malloc(sizeof *batch + length);
	if (!batch)
		return integer(env, -ENOMEM);
	*batch = (struct batch){NULL, length / sizeof(struct record), 0};
	memcpy(batch->records, data, length);
	pthread_mutex_lock(&filler->mutex);
	enqueue(filler, batch, urgent);
	pthread_mutex_unlock(&filler->mutex);
	return integer(env, 0);
}

/* fillerCounts(filler, counts): files and bytes pushed, and files that could not be, into a BigUint64Array of 3. */
napi_value filler_counts(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	napi_typedarray_type type;
	uint64_t *counts;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok ||
	    napi_get_typedarray_info(env, args[1], &type, &length, (void **)&counts, NULL, NULL) != napi_ok ||
	    type != napi_biguint64_array || length != 3)
		return integer(env, -EINVAL);
	counts[0] = atomic_load(&filler->files);
	counts[1] = atomic_load(&filler->bytes);
	counts[2] = atomic_load(&filler->failed);
	return integer(env, 0);
}

/*
 * stopFiller(filler): a promise that resolves when no thread uses the device any more. Reads must be answered until
 * then: a thread may be waiting for one. The object must not be used afterwards.
 */
napi_value stop_filler(napi_env env, napi_callback_info info)
{
	napi_value args[1], promise;
	size_t argc = 1;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok)
		return integer(env, -EINVAL);
	napi_create_promise(env, &filler->stopped, &promise);
	napi_ref_threadsafe_function(env, filler->threads);
	pthread_mutex_lock(&filler->mutex);
	filler->stopping = true;
	pthread_cond_broadcast(&filler->work);
	pthread_mutex_unlock(&filler->mutex);
	napi_release_threadsafe_function(filler->threads, napi_tsfn_release);
	return promise;
}
