#include "unpack.h"

#include <string.h>

#include "blake3.h"
#include "values.h"
#include "zstd.h"

struct unpacking {
	napi_async_work work;
	napi_deferred deferred;
	/* Both stay while they are worked on. */
	napi_ref keep_frames, keep_into;
	uint8_t *frames, *into;
	size_t length, size;
	uint8_t digest[BLAKE3_BYTES];
	bool is_right;
};

static void execute(napi_env env, void *data)
{
	struct unpacking *unpacking = data;
	uint8_t digest[BLAKE3_BYTES];
	(void)env;
	if (zstd_decompress(unpacking->into, unpacking->size, unpacking->frames, unpacking->length) !=
	    (int64_t)unpacking->size)
		return;
	blake3(unpacking->into, unpacking->size, digest);
	unpacking->is_right = memcmp(digest, unpacking->digest, sizeof digest) == 0;
}

static void forget(napi_env env, struct unpacking *unpacking)
{
	if (unpacking->keep_frames)
		napi_delete_reference(env, unpacking->keep_frames);
	if (unpacking->keep_into)
		napi_delete_reference(env, unpacking->keep_into);
	if (unpacking->work)
		napi_delete_async_work(env, unpacking->work);
	free(unpacking);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct unpacking *unpacking = data;
	napi_value is_right;
	if (napi_get_boolean(env, status == napi_ok && unpacking->is_right, &is_right) == napi_ok)
		napi_resolve_deferred(env, unpacking->deferred, is_right);
	forget(env, unpacking);
}

napi_value unpack_chunk(napi_env env, napi_callback_info info)
{
	napi_value args[3], promise;
	size_t argc = 3, digest_length;
	uint8_t *digest;
	struct unpacking *unpacking = calloc(1, sizeof *unpacking);
	if (!unpacking)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int error = EINVAL;
	if (!bytes_of(env, args[0], &unpacking->frames, &unpacking->length) ||
	    !bytes_of(env, args[1], &digest, &digest_length) || digest_length != BLAKE3_BYTES ||
	    !bytes_of(env, args[2], &unpacking->into, &unpacking->size))
		goto failed;
	memcpy(unpacking->digest, digest, BLAKE3_BYTES);
	error = ENOSYS;
	if (!zstd_found())
		goto failed;
	error = ENOMEM;
	if (napi_create_reference(env, args[0], 1, &unpacking->keep_frames) != napi_ok ||
	    napi_create_reference(env, args[2], 1, &unpacking->keep_into) != napi_ok ||
	    !start_work(env, "tvix-store:unpack", execute, complete, unpacking, &unpacking->work,
	                &unpacking->deferred, &promise))
		goto failed;
	return promise;
failed:
	forget(env, unpacking);
	return integer(env, -error);
}
