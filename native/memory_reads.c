/*
 * Reads of virtual machines: their bytes go into memory of JavaScript, which owns the queues of guests. What was read just before
 * is there on the spot; for the rest there are threads.
 */
#include "memory_reads.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_reader.h"
#include "values.h"

/* Requests that nobody waits for: whatever is asked for comes behind them. */
#define AHEAD_MAX 4

/* What a span wants, into memory that has room for it. */
static bool fill_span(struct reader *reader, const struct request *request, const struct span *span, uint8_t *into,
                      struct frame_room *room)
{
	const struct chunk chunk = chunk_of(request, span);
	bool is_whole = span->to - span->from == span->size;
	struct kept *kept = is_whole ? await_chunk(&reader->kept, chunk.digest, chunk.size)
	                             : keep_chunk(&reader->kept, reader->source, &chunk, room);
	if (!kept)
		return is_whole && load_verified_chunk(reader->source, &chunk, into, room, false) == CHUNK_LOADED;
	memcpy(into, kept->bytes + span->from, span->to - span->from);
	release_chunk(&reader->kept, kept);
	return true;
}

/* JavaScript hears of each that it waits for. */
static bool fill_request(struct reader *reader, struct request *request, struct scratch *scratch)
{
	uint8_t *into = request->into;
	request->is_filled = scratch != NULL;
	if (request->is_filled && request->known.length > 0)
		request->is_filled = load_known(reader->source, request, into, false) == CHUNK_LOADED;
	for (uint32_t i = 0; i < request->count && request->is_filled; i++) {
		const struct span *span = &request->spans[i];
		request->is_filled = fill_span(reader, request, span, into, &scratch->frame);
		into += span->to - span->from;
	}
	return false;
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

/* startMemoryReader(kind, folder, filled): as startReader, for readInto; `filled(ticket, isFilled)` hears of what was queued. */
napi_value start_memory_reader(napi_env env, napi_callback_info info)
{
	static const struct reader_work work = {fill_request, call_filled};
	napi_value args[3];
	size_t argc = 3;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	return start_reader_threads(env, -1, args[0], args[1], args[2], &work);
}

/* From chunks that are kept, all of them; or a small part of a file that is known, out of the page cache. */
static bool fill_at_once(struct reader *reader, const struct request *request)
{
	if (request->known.length > 0)
		return request->known.length <= AT_ONCE_MAX &&
		       load_known(reader->source, request, request->into, true) == CHUNK_LOADED;
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

static size_t total(const struct request *request)
{
	size_t length = request->known.length;
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
	struct request *request = request_of(reader, plan, length, &error);
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
		enqueue_request(reader, request);
	}
	return integer(env, is_filled);
}

/*
 * keepAhead(reader, plan): loads the chunks that a plan wants parts of, for the reads that are to come. 0, also when enough of that
 * is being done already; -errno. A chunk that cannot be had is missed by whoever reads it.
 */
napi_value keep_ahead(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	uint8_t *plan;
	struct reader *reader;
	int error;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&reader) != napi_ok || !bytes_of(env, args[1], &plan, &length))
		return integer(env, -EINVAL);
	struct request *request = request_of(reader, plan, length, &error);
	if (!request)
		return integer(env, -error);
	/* Only this thread adds to them. */
	if (atomic_load(&reader->ahead) >= AHEAD_MAX) {
		free(request);
		return integer(env, 0);
	}
	request->is_ahead = true;
	atomic_fetch_add(&reader->ahead, 1);
	enqueue_request(reader, request);
	return integer(env, 0);
}
