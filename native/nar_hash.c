/*
 * SHA-256 of the NAR of a tree, of the entries that its walk found: a file goes from the page cache through the hash without ever
 * being an object of JavaScript, but for those that JavaScript reads for another purpose, too. What it means when a file
 * is not as it was is said in src/transfer/nar-hash.ts.
 */
#include <stdlib.h>
#include <string.h>

#include "nar_frame.h"
#include "pool_job.h"
#include "sha256_library.h"

/* Records of a walk from `from` to `to`, or bytes. */
struct part {
	bool is_records;
	const struct source_record *records;
	const char *names;
	size_t names_length;
	uint32_t from, to;
	const uint8_t *bytes;
	size_t length;
};

struct job {
	struct pool_job pool;
	struct nar *nar;
	struct part *parts;
	size_t count;
};

static int put_records(struct nar *nar, const struct part *part)
{
	int result = 0;
	for (size_t i = part->from; i < part->to && result == 0; i++) {
		const struct source_record *record = &part->records[i];
		uint64_t end = (uint64_t)record->name + record->name_length + record->target_length;
		result = end > part->names_length ? -EINVAL : put_record(nar, record, part->names + record->name);
	}
	return result;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	struct nar *nar = job->nar;
	(void)env;
	nar->buffer = malloc(NAR_BUFFER_BYTES);
	int result = nar->buffer ? 0 : -ENOMEM;
	for (size_t i = 0; i < job->count && result == 0; i++) {
		const struct part *part = &job->parts[i];
		result = part->is_records ? put_records(nar, part) : put_contents(nar, part->bytes, part->length);
	}
	if (nar->buffer)
		flush(nar);
	job->pool.result = result == 0 && nar->has_failed ? -EIO : result;
	free(nar->buffer);
}

static bool element_bytes(napi_env env, napi_value array, uint32_t i, uint8_t **bytes, size_t *length)
{
	napi_value element;
	return napi_get_element(env, array, i, &element) == napi_ok && bytes_of(env, element, bytes, length);
}

static bool take_part(napi_env env, napi_value arrays, uint32_t *next, const uint32_t *range, struct part *part)
{
	uint8_t *bytes;
	if (!element_bytes(env, arrays, (*next)++, &bytes, &part->length))
		return false;
	part->bytes = bytes;
	part->is_records = range[0] < range[1];
	if (!part->is_records)
		return true;
	part->records = (const struct source_record *)bytes;
	part->from = range[0];
	part->to = range[1];
	if (!element_bytes(env, arrays, (*next)++, &bytes, &part->names_length))
		return false;
	part->names = (const char *)bytes;
	return (uintptr_t)part->records % _Alignof(struct source_record) == 0 &&
	       part->to <= part->length / sizeof(struct source_record);
}

static bool take_parts(napi_env env, napi_value arrays, napi_value ranges, struct job *job)
{
	size_t numbers;
	void *range;
	uint32_t next = 0, length;
	if (napi_get_array_length(env, arrays, &length) != napi_ok ||
	    !array_of(env, ranges, napi_uint32_array, &range, &numbers))
		return false;
	job->count = numbers / 2;
	job->parts = own(&job->pool, job->count + 1, sizeof *job->parts);
	for (size_t i = 0; job->parts && i < job->count; i++)
		if (!take_part(env, arrays, &next, (const uint32_t *)range + 2 * i, &job->parts[i]))
			return false;
	return job->parts && next == length && keep(env, &job->pool, arrays);
}

/*
 * update(nar, arrays, ranges): a promise of 0, -errno or NAR_CHANGED. For each part there are two numbers in `ranges`: where
 * records begin and end, which are two of the arrays with their names; or two equal ones for the contents of the file that
 * is open, which are one. One call at a time, and nothing may be touched until then.
 */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	void *nar;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_external(env, args[0], &nar) != napi_ok || !keep(env, &job->pool, args[0]) ||
	    !take_parts(env, args[1], args[2], job))
		return refuse_job(env, &job->pool, EINVAL);
	job->nar = nar;
	return start_job(env, &job->pool, "tvix-store:nar", execute);
}

static void free_nar(napi_env env, void *data, void *hint)
{
	struct nar *nar = data;
	(void)env;
	(void)hint;
	sha256_free(nar->sha256);
	free(nar);
}

/* create(path): the hash of the NAR of what is there, or -errno. */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value args[1], result;
	size_t argc = 1, length;
	uint8_t *path;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &path, &length) || length >= PATH_MAX)
		return integer(env, -EINVAL);
	if (!sha256_found())
		return integer(env, -ENOSYS);
	struct nar *nar = calloc(1, sizeof *nar);
	if (!nar || !(nar->sha256 = sha256_new())) {
		free(nar);
		return integer(env, -ENOMEM);
	}
	memcpy(nar->path, path, length);
	if (napi_create_external(env, nar, free_nar, NULL, &result) != napi_ok) {
		free_nar(env, nar, NULL);
		return integer(env, -ENOMEM);
	}
	return result;
}

/* path(nar, into): the length of the path of what was hashed last, where a failure was. */
static napi_value path_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *data;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &data) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room < PATH_MAX)
		return integer(env, -EINVAL);
	const char *path = ((struct nar *)data)->path;
	memcpy(into, path, strlen(path));
	return integer(env, strlen(path));
}

/* digest(nar, into): the size of the NAR, or -errno: EINVAL when it is not complete. The hash is of no use afterwards. */
static napi_value digest_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *data;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &data) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room != SHA256_BYTES)
		return integer(env, -EINVAL);
	struct nar *nar = data;
	if (nar->size == 0 || nar->depth > 0 || nar->is_file_open)
		return integer(env, -EINVAL);
	return integer(env, sha256_final(nar->sha256, into) ? (int64_t)nar->size : -EIO);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"create", create_call},
	    {"update", update_call},
	    {"path", path_call},
	    {"digest", digest_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
