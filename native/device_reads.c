/*
 * READ requests of a FUSE mount, answered by writing to its device. What is small and in the page cache is answered on the
 * spot; for the rest there are threads, so that JavaScript never waits for a disk.
 */
#include "device_reads.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "chunk_reader.h"
#include "values.h"

/* Chunks that are loaded on the thread of JavaScript: half a millisecond. */
#define KEPT_AT_ONCE_MAX (512 * 1024)

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
 * The bytes of one span: of a chunk that is kept, as it is if more of it may be wanted or it was read ahead, else in `scratch`, in
 * which whole chunks lie one behind the other.
 */
static bool add_span(struct reader *reader, const struct request *request, const struct span *span,
                     struct reply *reply, struct scratch *scratch)
{
	const struct chunk chunk = chunk_of(request, span);
	size_t at = reply->count++;
	uint8_t *bytes = scratch->contents + reply->whole_bytes;
	bool is_whole = span->to - span->from == span->size;
	reply->used[at] = is_whole ? await_chunk(&reader->kept, chunk.digest, chunk.size)
	                           : keep_chunk(&reader->kept, reader->source, &chunk, &scratch->frame);
	if (reply->used[at]) {
		bytes = reply->used[at]->bytes;
	} else if (!is_whole) {
		return false;
	} else {
		if (span->size > READ_MAX - reply->whole_bytes ||
		    load_verified_chunk(reader->source, &chunk, bytes, &scratch->frame, false) != CHUNK_LOADED)
			return false;
		reply->whole_bytes += span->size;
	}
	reply->parts[1 + at] = (struct iovec){bytes + span->from, span->to - span->from};
	return true;
}

static bool add_known(struct reader *reader, const struct request *request, struct reply *reply, struct scratch *scratch)
{
	size_t at = reply->count++;
	reply->used[at] = NULL;
	reply->parts[1 + at] = (struct iovec){scratch->contents, request->known.length};
	return load_known(reader->source, request, scratch->contents, false) == CHUNK_LOADED;
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

static bool answer(struct reader *reader, struct request *request, struct scratch *scratch)
{
	struct reply reply;
	reply.count = reply.whole_bytes = 0;
	bool is_whole = scratch && (request->known.length == 0 || add_known(reader, request, &reply, scratch));
	for (uint32_t i = 0; i < request->count && is_whole; i++)
		is_whole = add_span(reader, request, &request->spans[i], &reply, scratch);
	if (is_whole)
		send_reply(reader, request, &reply);
	for (size_t i = 0; i < reply.count; i++)
		if (reply.used[i])
			release_chunk(&reader->kept, reply.used[i]);
	return is_whole;
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

/* startReader(device, kind, folder, failed): threads that read chunks of that source; an object for the others, or -errno. */
napi_value start_reader(napi_env env, napi_callback_info info)
{
	static const struct reader_work work = {answer, call_failed};
	napi_value args[4];
	size_t argc = 4;
	int device;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &device) != napi_ok || device < 0)
		return integer(env, -EINVAL);
	return start_reader_threads(env, device, args[1], args[2], args[3], &work);
}

/*
 * Who reads one file in order waits for nothing else: 1 MiB takes 0.3 ms, and handing it to a thread, which copies through memory that
 * has left the cache meanwhile, as long again. Several files at a time are for the threads.
 */
static bool may_load_at_once(struct reader *reader, const struct request *request)
{
	if (request->known.length <= AT_ONCE_MAX)
		return true;
	bool is_next = reader->streamed == request->inode;
	reader->streamed = request->inode;
	return is_next;
}

/* A small file, or a part of one that is known, that is in the page cache of the store; none where there is no such. */
static struct iovec load_at_once(struct reader *reader, const struct request *request)
{
	const struct iovec none = {NULL, 0};
	size_t known = request->known.length;
	if (known > 0)
		return may_load_at_once(reader, request) && load_known(reader->source, request, reader->contents, true) == CHUNK_LOADED
		           ? (struct iovec){reader->contents, known}
		           : none;
	const struct span *span = &request->spans[0];
	const struct chunk chunk = chunk_of(request, span);
	if (request->count != 1 || span->size > AT_ONCE_MAX ||
	    load_verified_chunk(reader->source, &chunk, reader->contents, &reader->room, true) != CHUNK_LOADED)
		return none;
	return (struct iovec){reader->contents + span->from, span->to - span->from};
}

static bool answer_at_once(struct reader *reader, const struct request *request)
{
	struct reply reply;
	reply.parts[1] = load_at_once(reader, request);
	reply.count = 1;
	if (!reply.parts[1].iov_base)
		return false;
	send_reply(reader, request, &reply);
	return true;
}

static bool is_waited_at(int device)
{
	struct pollfd asked = {.fd = device, .events = POLLIN};
	return poll(&asked, 1, 0) > 0;
}

/*
 * A part of a chunk, of which more is wanted soon: a program that is being started. A thread would have to be woken, and takes one of two
 * processors from the program. When somebody else is waiting already, the threads share the work.
 */
static bool answer_from_kept(struct reader *reader, const struct request *request)
{
	const struct span *span = &request->spans[0];
	if (request->count != 1 || span->size > KEPT_AT_ONCE_MAX || is_waited_at(reader->device))
		return false;
	const struct chunk chunk = chunk_of(request, span);
	struct kept *kept = keep_chunk_at_once(&reader->kept, reader->source, &chunk, &reader->room);
	if (!kept)
		return false;
	struct reply reply = {.count = 1};
	reply.parts[1] = (struct iovec){kept->bytes + span->from, span->to - span->from};
	send_reply(reader, request, &reply);
	release_chunk(&reader->kept, kept);
	return true;
}

/*
 * readChunks(reader, plan): 0 when the kernel has its answer; 1 when it will get it, or `failed` will be called; 2 when it has it from
 * a chunk that is kept; -errno.
 */
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
	struct request *request = request_of(reader, data, length, &error);
	if (!request)
		return integer(env, -error);
	if (answer_at_once(reader, request)) {
		free(request);
		return integer(env, 0);
	}
	if (answer_from_kept(reader, request)) {
		free(request);
		return integer(env, 2);
	}
	enqueue_request(reader, request);
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
