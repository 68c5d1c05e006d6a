#include "unpack.h"

#include <string.h>

#include "blake3.h"
#include "pool_job.h"
#include "zstd.h"

struct unpacking {
	struct pool_job pool;
	uint8_t *frames, *into;
	size_t length, size;
	uint8_t digest[BLAKE3_BYTES];
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
	unpacking->pool.result = memcmp(digest, unpacking->digest, sizeof digest) == 0;
}

napi_value unpack_chunk(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, digest_length;
	uint8_t *digest;
	struct unpacking *unpacking = calloc(1, sizeof *unpacking);
	if (!unpacking)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &unpacking->frames, &unpacking->length) ||
	    !bytes_of(env, args[1], &digest, &digest_length) || digest_length != BLAKE3_BYTES ||
	    !bytes_of(env, args[2], &unpacking->into, &unpacking->size))
		return refuse_job(env, &unpacking->pool, EINVAL);
	memcpy(unpacking->digest, digest, BLAKE3_BYTES);
	if (!zstd_found())
		return refuse_job(env, &unpacking->pool, ENOSYS);
	if (!keep(env, &unpacking->pool, args[0]) || !keep(env, &unpacking->pool, args[2]))
		return refuse_job(env, &unpacking->pool, ENOMEM);
	return start_job(env, &unpacking->pool, "tvix-store:unpack", execute);
}
