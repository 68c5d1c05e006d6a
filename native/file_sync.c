/*
 * The one way to make many files durable at once, which Node does not have: syncfs(2). It decides nothing. See
 * src/services/objects/native-sync.ts.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "pool_job.h"

struct job {
	struct pool_job pool;
	int fd;
};

/* On a thread of the pool: it waits for the disk. */
static void run(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->pool.result = outcome(syncfs(job->fd));
}

/* syncFileSystem(fd): a promise of 0 or -errno. The descriptor must stay open until then. */
static napi_value sync_file_system(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_int32(env, args[0], &job->fd) != napi_ok)
		return refuse_job(env, &job->pool, EINVAL);
	return start_job(env, &job->pool, "tvix-store:syncfs", run);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {{"syncFileSystem", sync_file_system}};
	export_functions(env, exports, functions, 1);
	return exports;
}
