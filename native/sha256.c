/* SHA-256 of bytes, in the thread pool. See src/support/native-sha256.ts. */
#include <stdlib.h>

#include "pool_job.h"
#include "sha256_library.h"

struct job {
	struct pool_job pool;
	void *hash;
	struct body *pieces;
	uint32_t count;
};

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	for (size_t i = 0; i < job->count && job->pool.result == 0; i++)
		if (!sha256_update(job->hash, job->pieces[i].bytes, job->pieces[i].length))
			job->pool.result = -EIO;
}

/* update(hash, pieces): a promise of 0 or -errno. One at a time for a hash, and nothing of it may be touched until then. */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_external(env, args[0], &job->hash) != napi_ok || !keep(env, &job->pool, args[0]) ||
	    napi_get_array_length(env, args[1], &job->count) != napi_ok ||
	    !(job->pieces = bodies_of(env, &job->pool, args[1], job->count)))
		return refuse_job(env, &job->pool, EINVAL);
	return start_job(env, &job->pool, "tvix-store:sha256", execute);
}

static void free_hash(napi_env env, void *hash, void *hint)
{
	(void)env;
	(void)hint;
	sha256_free(hash);
}

/* create(): a hash, or -errno. */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value result;
	(void)info;
	if (!sha256_found())
		return integer(env, -ENOSYS);
	void *hash = sha256_new();
	if (hash && napi_create_external(env, hash, free_hash, NULL, &result) == napi_ok)
		return result;
	sha256_free(hash);
	return integer(env, -ENOMEM);
}

/* digest(hash, into): 0 or -errno. The hash is of no use afterwards. */
static napi_value digest_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *hash;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &hash) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room != SHA256_BYTES)
		return integer(env, -EINVAL);
	return integer(env, sha256_final(hash, into) ? 0 : -EIO);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"create", create_call},
	    {"update", update_call},
	    {"digest", digest_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
