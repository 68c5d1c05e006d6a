/*
 * Records of a pack (docs/pack-format.md) laid out and compressed in one trip to the thread pool, where memory lies, and
 * flock(2), which Node does not have. It decides nothing: what is stored, where and when it is synced is said in
 * src/services/objects/packs-*.ts.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "crc32.h"
#include "pool_job.h"
#include "stored_frame.h"
#include "zstd.h"

#define HEAD_BYTES 16
#define ALIGNMENT 8
#define PAGE_BYTES 4096
/* "tvpr" */
#define MAGIC 0x72707674u

static bool has_crc32;

struct job {
	struct pool_job pool;
	uint8_t *into;
	size_t room;
	/* One behind the other. */
	const uint8_t *keys;
	struct body *bodies;
	/* For each: the length of its key and whether to compress it; then where its body begins, and its length. */
	uint32_t *records;
	size_t count;
	uint32_t salt;
	int32_t zstd_level;
};

static void put32(uint8_t *into, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		into[i] = value >> (8 * i);
}

/* The body as it is stored: its bytes, or less than 0. */
static int64_t store_body(const struct job *job, const struct body *body, bool is_zstd, uint8_t *into, size_t room)
{
	if (is_zstd && !looks_like_noise(body->bytes, body->length)) {
		int64_t length = zstd_compress(into, room, body->bytes, body->length, job->zstd_level);
		/* Nothing can be wrong with the bytes, and there is room for any frame of them: it is out of memory. */
		return length < 0 ? -ENOMEM : length;
	}
	size_t needed = is_zstd ? stored_frame_bytes(body->length) : body->length;
	if (room < needed)
		return -ENOBUFS;
	if (is_zstd)
		put_stored_frame(into, body->bytes, body->length);
	else if (needed > 0)
		memcpy(into, body->bytes, needed);
	return needed;
}

/* One record at `at`: where the next one begins, or less than 0. */
static int64_t lay_out(const struct job *job, size_t i, const uint8_t *key, size_t at)
{
	uint32_t *record = job->records + 2 * i;
	size_t key_length = record[0] >> 1, body_at = at + HEAD_BYTES + key_length;
	uint8_t *head = job->into + at;
	if (job->room < body_at + ALIGNMENT)
		return -ENOBUFS;
	memcpy(head + HEAD_BYTES, key, key_length);
	int64_t stored = store_body(job, job->bodies + i, record[0] & 1, job->into + body_at,
	                            job->room - body_at - ALIGNMENT);
	if (stored < 0)
		return stored;
	size_t end = body_at + stored;
	put32(head, MAGIC);
	put32(head + 8, stored);
	put32(head + 12, key_length);
	put32(head + 4, crc32_of(job->salt, head + 8, end - at - 8));
	record[0] = body_at;
	record[1] = stored;
	size_t padding = -end % ALIGNMENT;
	memset(job->into + end, 0, padding);
	return end + padding;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	const uint8_t *key = job->keys;
	int64_t at = 0;
	(void)env;
	for (size_t i = 0; i < job->count && at >= 0; i++) {
		size_t key_length = job->records[2 * i] >> 1;
		at = lay_out(job, i, key, at);
		key += key_length;
	}
	job->pool.result = at;
}

static bool take_records(napi_env env, napi_value value, struct job *job)
{
	size_t words;
	void *records;
	if (!array_of(env, value, napi_uint32_array, &records, &words) || words == 0 || words % 2 != 0)
		return false;
	job->records = records;
	job->count = words / 2;
	return keep(env, &job->pool, value);
}

/* Together the keys are as long as the records say. */
static bool take_keys(napi_env env, napi_value value, struct job *job)
{
	size_t length, expected = 0;
	uint8_t *keys;
	if (!bytes_of(env, value, &keys, &length))
		return false;
	for (size_t i = 0; i < job->count; i++)
		expected += job->records[2 * i] >> 1;
	job->keys = keys;
	return length == expected && keep(env, &job->pool, value);
}

/*
 * layOut(into, keys, bodies, records, salt, zstdLevel): a promise of how many bytes of `into` are records then, or of
 * -errno; or -errno at once. `records`: two numbers for each, as in src/services/objects/native-packs.ts.
 */
static napi_value lay_out_call(napi_env env, napi_callback_info info)
{
	napi_value args[6];
	size_t argc = 6;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (!bytes_of(env, args[0], &job->into, &job->room) ||
	    !keep(env, &job->pool, args[0]) || !take_records(env, args[3], job) || !take_keys(env, args[1], job) ||
	    !(job->bodies = bodies_of(env, &job->pool, args[2], job->count)) ||
	    napi_get_value_uint32(env, args[4], &job->salt) != napi_ok ||
	    napi_get_value_int32(env, args[5], &job->zstd_level) != napi_ok)
		return refuse_job(env, &job->pool, EINVAL);
	if (!zstd_found() || !has_crc32)
		return refuse_job(env, &job->pool, ENOSYS);
	return start_job(env, &job->pool, "tvix-store:packs", execute);
}

/* lead(bytes): how many of a Uint8Array come before the next page of memory begins, where disks can read from; or -errno. */
static napi_value lead_call(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1, length;
	uint8_t *bytes;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &bytes, &length))
		return integer(env, -EINVAL);
	return integer(env, -(uintptr_t)bytes % PAGE_BYTES);
}

/* lock(fd): 0 when nobody else has the file locked, until all descriptors that were made of this one are closed; or -errno. */
static napi_value lock_call(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int fd;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(flock(fd, LOCK_EX | LOCK_NB)));
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"layOut", lay_out_call},
	    {"lead", lead_call},
	    {"lock", lock_call},
	};
	has_crc32 = crc32_found();
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
