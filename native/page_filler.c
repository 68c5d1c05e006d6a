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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "page_push.h"
#include "source_values.h"
#include "values.h"

/* One keeps ahead of one reader; beside it and the thread of JavaScript, a second one takes the processor from them where there are two. */
#define THREADS_MAX 2
/* Records that wait; more is refused, unless it is urgent. What waits here can no longer be put behind something else. */
#define WAITING_MAX 1024
/* Who was refused is asked for more while so many still wait: the threads are to have work until it comes. */
#define WAITING_FEW 512

struct batch {
	struct batch *next;
	size_t count, taken;
	/* Of every GROUP records only the place of the first is known. */
	bool neighbours;
	struct record records[];
};

struct filler {
	int device;
	struct chunk_source *source;
	pthread_mutex_t mutex;
	pthread_cond_t work;
	struct batch *first, **last;
	/* Records; and threads that push some. */
	size_t waiting, working;
	/* JavaScript has more, and was told that it is too much. */
	bool refused;
	bool stopping;
	struct push_counts counts;
	/* Tells JavaScript of room. Lives as long as a thread does; its end resolves the promise of stop_filler. */
	napi_threadsafe_function threads;
	napi_deferred stopped;
};

struct worker {
	struct filler *filler;
	bool is_working;
	struct page_push push;
};

/* Up to GROUP records; none when the threads are to end. */
static size_t take(struct worker *worker, bool *neighbours)
{
	struct filler *filler = worker->filler;
	size_t count = 0;
	bool has_room = false;
	pthread_mutex_lock(&filler->mutex);
	if (worker->is_working)
		filler->working--;
	while (!filler->first && !filler->stopping)
		pthread_cond_wait(&filler->work, &filler->mutex);
	struct batch *batch = filler->first;
	if (batch && !filler->stopping) {
		*neighbours = batch->neighbours;
		/* What must be read one by one is shared with the other threads. */
		size_t most = batch->neighbours ? GROUP : SHARE;
		count = batch->count - batch->taken < most ? batch->count - batch->taken : most;
		memcpy(worker->push.group, batch->records + batch->taken, count * sizeof *worker->push.group);
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
	worker->is_working = count > 0;
	filler->working += worker->is_working;
	pthread_mutex_unlock(&filler->mutex);
	if (has_room)
		napi_call_threadsafe_function(filler->threads, NULL, napi_tsfn_nonblocking);
	return count;
}

/* What was not found is given to JavaScript, which finds its places; without memory it is left alone. */
static void give_back(struct filler *filler, const struct record *records, const bool *is_found, size_t count)
{
	struct batch *rest = calloc(1, sizeof *rest + count * sizeof *records);
	for (size_t i = 0; rest && i < count; i++)
		if (!is_found[i])
			rest->records[rest->count++] = records[i];
	if (!rest || (rest->count > 0 &&
	              napi_call_threadsafe_function(filler->threads, rest, napi_tsfn_nonblocking) == napi_ok))
		return;
	free(rest);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct filler *filler = worker->filler;
	struct page_push *push = &worker->push;
	bool neighbours;
	for (size_t count; (count = take(worker, &neighbours)) > 0;) {
		bool is_found[GROUP] = {false};
		if (!neighbours)
			push_one_by_one(push, count);
		else if (!push_neighbours(push, count, is_found))
			give_back(filler, push->group, is_found, count);
		push_loaded(push);
	}
	free(push->room.bytes);
	free(push->piece.bytes);
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
	worker->push.device = filler->device;
	worker->push.source = filler->source;
	worker->push.counts = &filler->counts;
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

/* On the thread of JavaScript: told(), or told(records). Nobody is told anything by threads that are to end. */
static void call_told(napi_env env, napi_value callback, void *context, void *data)
{
	struct filler *filler = context;
	struct batch *rest = data;
	napi_value receiver, records;
	size_t count = 0;
	if (env && !filler->stopped && napi_get_undefined(env, &receiver) == napi_ok &&
	    (!rest || (napi_create_buffer_copy(env, rest->count * sizeof *rest->records, rest->records, NULL, &records) == napi_ok &&
	               (count = 1))))
		napi_call_function(env, receiver, callback, count, &records, NULL);
	free(rest);
}

/*
 * startFiller(device, kind, folder, told): threads that read chunks of that source; an object for the others, or -errno.
 * told() is called when more can be taken after mayFill said no, told(records) with those that were not found as neighbours.
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
	if (napi_create_threadsafe_function(env, args[3], NULL, name, 0, 1, filler, all_stopped, filler, call_told,
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
 * JavaScript will be told.
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

/* isFilling(filler): whether anything is being pushed, or waits for that. */
napi_value is_filling(napi_env env, napi_callback_info info)
{
	napi_value args[1], result;
	size_t argc = 1;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok)
		return NULL;
	pthread_mutex_lock(&filler->mutex);
	bool is = filler->waiting > 0 || filler->working > 0;
	pthread_mutex_unlock(&filler->mutex);
	return napi_get_boolean(env, is, &result) == napi_ok ? result : NULL;
}

/* fill(filler, records, urgent, neighbours): 0, or -errno. neighbours: of every GROUP records only the first has its place. */
napi_value fill(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4, length;
	uint8_t *data;
	bool urgent, neighbours;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok ||
	    !bytes_of(env, args[1], &data, &length) || length == 0 || length % sizeof(struct record) != 0 ||
	    napi_get_value_bool(env, args[2], &urgent) != napi_ok ||
	    napi_get_value_bool(env, args[3], &neighbours) != napi_ok ||
	    (neighbours && kind_of(filler->source) != SOURCE_PACKS))
		return integer(env, -EINVAL);
	struct batch *batch = malloc(sizeof *batch + length);
	if (!batch)
		return integer(env, -ENOMEM);
	*batch = (struct batch){.count = length / sizeof(struct record), .neighbours = neighbours};
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
	uint64_t *counts;
	struct filler *filler;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&filler) != napi_ok ||
	    !array_of(env, args[1], napi_biguint64_array, (void **)&counts, &length) || length != 3)
		return integer(env, -EINVAL);
	counts[0] = atomic_load(&filler->counts.files);
	counts[1] = atomic_load(&filler->counts.bytes);
	counts[2] = atomic_load(&filler->counts.failed);
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
