#include "descriptor_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "values.h"

struct watch {
	uv_poll_t *handle;
	napi_env env;
	napi_ref callback;
	napi_async_context context;
};

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* Runs when the JavaScript environment ends, or from unwatch(). */
static void stop_watching(void *data)
{
	struct watch *watch = data;
	if (!watch->handle)
		return;
	uv_close((uv_handle_t *)watch->handle, free_handle);
	watch->handle = NULL;
	napi_delete_reference(watch->env, watch->callback);
	napi_async_destroy(watch->env, watch->context);
}

static void free_watch(napi_env env, void *data, void *hint)
{
	(void)hint;
	napi_remove_env_cleanup_hook(env, stop_watching, data);
	stop_watching(data);
	free(data);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct watch *watch = handle->data;
	napi_env env = watch->env;
	napi_handle_scope scope;
	napi_value callback, receiver, argument, result, error;
	(void)events;
	napi_open_handle_scope(env, &scope);
	napi_get_reference_value(env, watch->callback, &callback);
	napi_get_global(env, &receiver);
	argument = integer(env, status);
	/* The callback may end the watch: nothing of it may be touched afterwards. */
	if (napi_make_callback(env, watch->context, receiver, callback, 1, &argument, &result) ==
	    napi_pending_exception) {
		napi_get_and_clear_last_exception(env, &error);
		napi_fatal_exception(env, error);
	}
	napi_close_handle_scope(env, scope);
}

static int start_poll(napi_env env, struct watch *watch, int fd)
{
	uv_loop_t *loop;
	napi_get_uv_event_loop(env, &loop);
	/* The size is asked of the libuv that runs, which may be newer than the headers. */
	watch->handle = calloc(1, uv_handle_size(UV_POLL));
	if (!watch->handle)
		return -ENOMEM;
	int failed = uv_poll_init(loop, watch->handle, fd);
	if (failed) {
		free(watch->handle);
		watch->handle = NULL;
		return failed;
	}
	watch->handle->data = watch;
	return uv_poll_start(watch->handle, UV_READABLE, on_poll);
}

/* watch(fd, callback): calls back with 0 when fd is readable, with -errno when it fails; an object for unwatch. */
napi_value watch_descriptor(napi_env env, napi_callback_info info)
{
	napi_value args[2], name, external;
	size_t argc = 2;
	int fd, failed;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok)
		return integer(env, -EINVAL);
	struct watch *watch = calloc(1, sizeof *watch);
	if (!watch)
		return integer(env, -ENOMEM);
	watch->env = env;
	napi_create_string_utf8(env, "tvix-store:fuse", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &watch->context);
	napi_create_reference(env, args[1], 1, &watch->callback);
	napi_add_env_cleanup_hook(env, stop_watching, watch);
	failed = start_poll(env, watch, fd);
	/* Its finalizer frees the watch, also after a failure. */
	napi_create_external(env, watch, free_watch, NULL, &external);
	return failed ? integer(env, failed) : external;
}

/* unwatch(watch): no callback comes after this; the descriptor may be closed. */
napi_value unwatch(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	void *watch;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &watch) == napi_ok)
		stop_watching(watch);
	return NULL;
}
