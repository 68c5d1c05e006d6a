/* Which of many objects of a folder are there, in one trip to the thread pool. See src/services/objects/native-files.ts. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "object_presence.h"
#include "pool_job.h"

#define DIGEST_BYTES 32
#define PREFIX_MAX 128
/* Two bytes are what objects are fanned out by. */
#define KEY_MAX (PREFIX_MAX + 1 + 4 + 1 + 2 * DIGEST_BYTES + 1)

struct job {
	struct pool_job pool;
	const uint8_t *digests;
	int32_t *answers;
	size_t count, prefix_length;
	char root[STRING_MAX];
	char prefix[STRING_MAX];
};

static char *write_hex(char *into, const uint8_t *bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < count; i++) {
		*into++ = digits[bytes[i] >> 4];
		*into++ = digits[bytes[i] & 15];
	}
	return into;
}

static int32_t is_there(int root, const char *key)
{
	struct stat found;
	if (fstatat(root, key, &found, 0) == 0)
		return S_ISREG(found.st_mode);
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	char key[KEY_MAX];
	(void)env;
	int root = open(job->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int error = root < 0 ? -errno : 0;
	memcpy(key, job->prefix, job->prefix_length);
	key[job->prefix_length] = '/';
	for (size_t i = 0; i < job->count; i++) {
		const uint8_t *digest = job->digests + i * DIGEST_BYTES;
		char *end = write_hex(key + job->prefix_length + 1, digest, 2);
		*end++ = '/';
		*write_hex(end, digest, DIGEST_BYTES) = 0;
		job->answers[i] = error < 0 ? error : is_there(root, key);
	}
	if (root >= 0)
		close(root);
}

static bool take_digests(napi_env env, napi_value digests, napi_value answers, struct job *job)
{
	uint8_t *bytes;
	void *results;
	size_t length;
	if (!bytes_of(env, digests, &bytes, &length) ||
	    !array_of(env, answers, napi_int32_array, &results, &job->count) || length != job->count * DIGEST_BYTES)
		return false;
	job->digests = bytes;
	job->answers = results;
	return keep(env, &job->pool, digests) && keep(env, &job->pool, answers);
}

napi_value are_there_call(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (!string_of(env, args[0], job->root) || !string_of(env, args[1], job->prefix) ||
	    (job->prefix_length = strlen(job->prefix)) > PREFIX_MAX || !take_digests(env, args[2], args[3], job))
		return refuse_job(env, &job->pool, EINVAL);
	return start_job(env, &job->pool, "tvix-store:presence", execute);
}
