/*
 * The one way to make many files durable at once, which Node does not have: syncfs(2). It decides nothing. See
 * src/services/objects/native-sync.ts.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>

#include "values.h"

struct job {
	napi_async_work work;
	napi_deferred deferred;
	int fd;
	int64_t result;
};

/* On a thread of the pool: it waits for the disk. */
static void run(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->result = outcome(syncfs(job->fd));
}

static void finish(napi_env env, napi_status status, void *data)
{
	struct job *job = data;
	napi_resolve_deferred(env, job->deferred, integer(env, status == napi_ok ? job->result : -ECANCELED));
	napi_delete_async_work(env, job->work);
	free(job);
}

/* syncFileSystem(fd): a promise of 0 or -errno. The descriptor must stay open until then. */
static napi_value sync_file_system(napi_env env, napi_callback_info info)
{
	napi_value args[1], promise, name;
	size_t argc = 1;
	int fd;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok) {
		free(job);
		return integer(env, -EINVAL);
	}
	job->fd = fd;
	napi_create_string_utf8(env, "tvix-store:syncfs", NAPI_AUTO_LENGTH, &name);
	napi_create_promise(env, &job->deferred, &promise);
	napi_create_async_work(env, NULL, name, run, finish, job, &job->work);
	napi_queue_async_work(env, job->work);
	return promise;
}

NAPI_MODULE_INIT()
{
	napi_value function;
	napi_create_function(env, "syncFileSystem", NAPI_AUTO_LENGTH, sync_file_system, NULL, &function);
	napi_set_named_property(env, exports, "syncFileSystem", function);
	return exports;
}
