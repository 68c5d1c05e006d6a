/* SHA-256 of bytes, in the thread pool. See src/support/native-sha256.ts. */
#include <stdlib.h>

#include "sha256_library.h"
#include "values.h"

struct job {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref keep_hash, keep_pieces;
	void *hash;
	struct body *pieces;
	uint32_t count;
	/* 0 or -errno */
	int result;
};

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	for (size_t i = 0; i < job->count && job->result == 0; i++)
		if (!sha256_update(job->hash, job->pieces[i].bytes, job->pieces[i].length))
			job->result = -EIO;
}

static void forget(napi_env env, struct job *job)
{
	if (job->keep_hash)
		napi_delete_reference(env, job->keep_hash);
	if (job->keep_pieces)
		napi_delete_reference(env, job->keep_pieces);
	if (job->work)
		napi_delete_async_work(env, job->work);
	free(job->pieces);
	free(job);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct job *job = data;
	napi_resolve_deferred(env, job->deferred, integer(env, status == napi_ok ? job->result : -ECANCELED));
	forget(env, job);
}

/* update(hash, pieces): a promise of 0 or -errno. One at a time for a hash, and nothing of it may be touched until then. */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[2], promise;
	size_t argc = 2;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	int error = EINVAL;
	if (napi_get_value_external(env, args[0], &job->hash) != napi_ok ||
	    napi_get_array_length(env, args[1], &job->count) != napi_ok ||
	    !bodies_of(env, args[1], job->count, &job->pieces, &job->keep_pieces))
		goto failed;
	error = ENOMEM;
	if (napi_create_reference(env, args[0], 1, &job->keep_hash) != napi_ok ||
	    !start_work(env, "tvix-store:sha256", execute, complete, job, &job->work, &job->deferred,
	                &promise))
		goto failed;
	return promise;
failed:
	forget(env, job);
	return integer(env, -error);
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
