/*
 * Cuts blobs into chunks and digests both on threads of the pool. It decides nothing: what is cut where is said in
 * src/model/castore/fastcdc.ts, and when in src/services/blobs/chunk-cutter.ts.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blake3_stream.h"
#include "gear.h"
#include "pool_job.h"

/* As src/services/blobs/chunk-cutter.ts reads it. */
struct record {
	uint8_t digest[BLAKE3_BYTES];
	uint32_t size;
};

struct job {
	struct pool_job pool;
	const struct gear *gear;
	struct blake3_stream *blob;
	const uint8_t *bytes;
	size_t length;
	struct record *records;
	size_t records_max, count;
	bool is_last;
};

/* Of the blob, that are hashed at once: whole subtrees of it, which a chunk that ends anywhere would tear apart. */
#define BLOB_STEP 65536

/* Hashes what ends with a step, while it is in the processor's cache, or everything. The next that is to be hashed. */
static const uint8_t *hash_blob(struct job *job, const uint8_t *from, const uint8_t *to, bool is_all)
{
	uint64_t hashed = job->blob->chunks * BLAKE3_CHUNK_BYTES + job->blob->buffered;
	size_t length = to - from, rest = is_all ? 0 : (hashed + length) % BLOB_STEP;
	if (rest >= length)
		return from;
	blake3_update(job->blob, from, length - rest);
	return to - rest;
}

/* The chunks that are certain; what is left of the bytes belongs to the next. */
static void execute(napi_env env, void *data)
{
	struct job *job = data;
	const uint8_t *bytes = job->bytes, *unhashed = bytes;
	size_t left = job->length;
	(void)env;
	while (job->count < job->records_max && (job->is_last ? left > 0 : left >= job->gear->max)) {
		struct record *record = &job->records[job->count++];
		size_t size = gear_cut(job->gear, bytes, left);
		record->size = size;
		blake3(bytes, size, record->digest);
		bytes += size;
		left -= size;
		unhashed = hash_blob(job, unhashed, bytes, false);
	}
	hash_blob(job, unhashed, bytes, true);
	job->pool.result = job->count;
}

static bool gear_of(napi_env env, napi_value value, const struct gear **gear)
{
	size_t length;
	void *start;
	if (!array_of(env, value, napi_biguint64_array, &start, &length) || length * sizeof(uint64_t) != sizeof **gear)
		return false;
	*gear = start;
	return (*gear)->min >= 2 && (*gear)->min <= (*gear)->avg && (*gear)->avg <= (*gear)->max &&
	       (*gear)->max <= UINT32_MAX;
}

static bool stream_of(napi_env env, napi_value value, struct blake3_stream **stream)
{
	uint8_t *start;
	size_t length;
	if (!bytes_of(env, value, &start, &length) || length != sizeof **stream ||
	    (uintptr_t)start % _Alignof(struct blake3_stream) != 0)
		return false;
	*stream = (struct blake3_stream *)start;
	return (*stream)->buffered <= BLAKE3_CHUNK_BYTES && (*stream)->subtrees <= BLAKE3_DEPTH_MAX;
}

static bool records_of(napi_env env, napi_value value, struct job *job)
{
	uint8_t *start;
	size_t length;
	if (!bytes_of(env, value, &start, &length) || (uintptr_t)start % _Alignof(struct record) != 0)
		return false;
	job->records = (struct record *)start;
	job->records_max = length / sizeof(struct record);
	return true;
}

/*
 * cut(gear, blob, bytes, records, isLast): a promise of how many chunks were cut off the bytes, with a record of each, or
 * -errno. `gear` is a BigUint64Array, `blob` a Uint8Array of `streamBytes` that is all zeros for a new blob and takes
 * the bytes of these chunks. `isLast`: no more bytes follow. No buffer may be touched until then.
 */
static napi_value cut(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5;
	uint8_t *bytes;
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!gear_of(env, args[0], &job->gear) || !stream_of(env, args[1], &job->blob) ||
	    !bytes_of(env, args[2], &bytes, &job->length) || !records_of(env, args[3], job) ||
	    napi_get_value_bool(env, args[4], &job->is_last) != napi_ok)
		return refuse_job(env, &job->pool, EINVAL);
	job->bytes = bytes;
	for (int i = 0; i < 4; i++)
		if (!keep(env, &job->pool, args[i]))
			return refuse_job(env, &job->pool, ENOMEM);
	return start_job(env, &job->pool, "tvix-store:cut", execute);
}

/* digest(blob, into): of all chunks that were cut so far, into a Uint8Array of 32 bytes. 0 or -errno. */
static napi_value digest(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	struct blake3_stream *stream;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!stream_of(env, args[0], &stream) || !bytes_of(env, args[1], &into, &length) || length != BLAKE3_BYTES)
		return integer(env, -EINVAL);
	blake3_digest(stream, into);
	return integer(env, 0);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"cut", cut},
	    {"digest", digest},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	napi_set_named_property(env, exports, "streamBytes", integer(env, sizeof(struct blake3_stream)));
	return exports;
}
