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
#include "pack_piece.h"
#include "source_values.h"
#include "values.h"
#include "zstd.h"

/* One keeps ahead of one reader; beside it and the thread of JavaScript, a second one takes the processor from them where there are two. */
#define THREADS_MAX 2
/* Files that are hashed side by side. */
#define SHARE 16
/* Files that a thread takes at a time at most; as FILL_GROUP in src/mount/fuse/page-filler.ts. */
#define GROUP 128
/* The record of a chunk in a pack may be longer than its contents by this much: its head, its key, and the frame of noise. */
#define RECORD_MORE 96
/* What is read for a group: a few files first, and then so many times at most as much as all of them need. */
#define FIRST_PIECE 65536
#define PIECES_MAX 3
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
	/* Of every GROUP records only the place of the first is known. */
	bool neighbours;
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
	/* Records; and threads that push some. */
	size_t waiting, working;
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
	bool is_working;
	struct frame_room room;
	struct pack_piece piece;
	struct record group[GROUP];
	/* A share that was read and is not pushed yet: one file behind the other; those of records that are right always fit. */
	uint8_t contents[SHARE * FILE_MAX], digests[SHARE][BLAKE3_BYTES];
	struct blake3_message messages[SHARE];
	const struct record *loaded[SHARE];
	size_t count;
};

static struct chunk chunk_of(const struct record *record)
{
	return (struct chunk){
	    .digest = record->digest, .blob = record->digest, .size = record->size, .place = record->place};
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
		memcpy(worker->group, batch->records + batch->taken, count * sizeof *worker->group);
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

/* All are read first, since their digests are computed side by side. */
static void push_loaded(struct worker *worker)
{
	struct filler *filler = worker->filler;
	size_t pushed = 0, bytes = 0;
	blake3_many(worker->messages, worker->count);
	for (size_t i = 0; i < worker->count; i++) {
		const struct record *record = worker->loaded[i];
		if (memcmp(worker->digests[i], record->digest, BLAKE3_BYTES) != 0 ||
		    !store(worker, record, worker->messages[i].bytes))
			continue;
		pushed++;
		bytes += record->size;
	}
	atomic_fetch_add(&filler->files, pushed);
	atomic_fetch_add(&filler->bytes, bytes);
	atomic_fetch_add(&filler->failed, worker->count - pushed);
	worker->count = 0;
}

/* Where the contents of the next file belong. */
static uint8_t *room_for_next(struct worker *worker)
{
	if (worker->count == SHARE)
		push_loaded(worker);
	if (worker->count == 0)
		return worker->contents;
	const struct blake3_message *last = &worker->messages[worker->count - 1];
	return (uint8_t *)last->bytes + last->length;
}

/* What lies where room_for_next said. */
static void add_loaded(struct worker *worker, const struct record *record, const uint8_t *contents)
{
	size_t at = worker->count++;
	worker->loaded[at] = record;
	worker->messages[at] = (struct blake3_message){contents, record->size, worker->digests[at]};
}

static void push_one_by_one(struct worker *worker, size_t count)
{
	for (const struct record *record = worker->group; record < worker->group + count; record++) {
		const struct chunk chunk = chunk_of(record);
		uint8_t *into = room_for_next(worker);
		if (record->size <= FILE_MAX &&
		    load_chunk(worker->filler->source, &chunk, into, &worker->room, false) == CHUNK_LOADED)
			add_loaded(worker, record, into);
		else
			atomic_fetch_add(&worker->filler->failed, 1);
	}
}

/* The place of a chunk among the records from `from` on; `count` when it is none of them. */
static size_t find_record(const struct record *records, size_t count, size_t from, const uint8_t *digest)
{
	/* Only what is right in its first bytes is looked at any further: most chunks between are others. */
	uint64_t start, other;
	memcpy(&start, digest, sizeof start);
	for (size_t i = from; i < count; i++) {
		memcpy(&other, records[i].digest, sizeof other);
		if (other == start && memcmp(records[i].digest, digest, BLAKE3_BYTES) == 0)
			return i;
	}
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

/* Of the records, those that lie in the piece of a pack that was read; how many. `next` is where the next one is expected. */
static size_t push_found(struct worker *worker, size_t count, bool is_found[GROUP], size_t *next)
{
	const struct record *records = worker->group;
	struct packed_chunk chunk;
	size_t found = 0;
	while (*next < count && next_chunk(&worker->piece, &chunk)) {
		size_t at = find_record(records, count, *next, chunk.digest);
		if (at == count || is_found[at] || records[at].size > FILE_MAX)
			continue;
		uint8_t *into = room_for_next(worker);
		if (zstd_decompress(into, records[at].size, chunk.frames, chunk.stored) != (int64_t)records[at].size)
			continue;
		add_loaded(worker, &records[at], into);
		is_found[at] = true;
		found++;
		while (*next < count && is_found[*next])
			++*next;
	}
	return found;
}

/* Those that lie behind the first one in its pack, with others between them that were stored at the same time. */
static void push_neighbours(struct worker *worker, size_t count)
{
	struct chunk_source *source = worker->filler->source;
	const struct chunk first = chunk_of(worker->group);
	bool is_found[GROUP] = {false};
	size_t bytes = 0, next = 0, found = 0;
	for (size_t i = 0; i < count; i++)
		bytes += worker->group[i].size + RECORD_MORE;
	/* Whoever lists a directory and reads it at once is right behind. */
	bool has_piece = read_piece(source, &first, bytes < FIRST_PIECE ? bytes : FIRST_PIECE, &worker->piece);
	for (int pieces = 0; has_piece; has_piece = found < count && ++pieces <= PIECES_MAX &&
	                                            read_next_piece(source, &first, bytes, &worker->piece))
		found += push_found(worker, count, is_found, &next);
	if (found < count)
		give_back(worker->filler, worker->group, is_found, count);
}

static void *run(void *argument)
{
	struct worker *worker = argument;
	struct filler *filler = worker->filler;
	bool neighbours;
	for (size_t count; (count = take(worker, &neighbours)) > 0;) {
		if (neighbours)
			push_neighbours(worker, count);
		else
			push_one_by_one(worker, count);
		push_loaded(worker);
	}
	free(worker->room.bytes);
	free(worker->piece.bytes);
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
