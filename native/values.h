/* What the files of the addon need of Node-API: arguments in, results out. */
#ifndef TVIX_STORE_VALUES_H
#define TVIX_STORE_VALUES_H

#include <errno.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>

/* PATH_MAX, and one page of options, which is all that mount(2) takes. */
#define STRING_MAX 4096

static inline napi_value integer(napi_env env, int64_t value)
{
	napi_value result;
	napi_create_int64(env, value, &result);
	return result;
}

static inline int64_t outcome(int64_t result)
{
	return result < 0 ? -(int64_t)errno : result;
}

static inline bool bytes_of(napi_env env, napi_value value, uint8_t **data, size_t *length)
{
	napi_typedarray_type type;
	void *start;
	if (napi_get_typedarray_info(env, value, &type, length, &start, NULL, NULL) != napi_ok)
		return false;
	*data = start;
	return type == napi_uint8_array;
}

static inline bool string_of(napi_env env, napi_value value, char out[STRING_MAX])
{
	size_t length;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= STRING_MAX)
		return false;
	return napi_get_value_string_utf8(env, value, out, STRING_MAX, &length) == napi_ok;
}

struct body {
	const uint8_t *bytes;
	size_t length;
};

/*
 * An array of `count` Uint8Arrays: they stay while `keep` does. `bodies` is to be freed in any case, also when this is false
 * and it is not NULL.
 */
static inline bool bodies_of(napi_env env, napi_value value, size_t count, struct body **bodies, napi_ref *keep)
{
	uint32_t length;
	if (napi_get_array_length(env, value, &length) != napi_ok || length != count)
		return false;
	*bodies = calloc(length, sizeof **bodies);
	for (uint32_t i = 0; *bodies && i < length; i++) {
		napi_value body;
		uint8_t *bytes;
		if (napi_get_element(env, value, i, &body) != napi_ok || !bytes_of(env, body, &bytes, &(*bodies)[i].length))
			return false;
		(*bodies)[i].bytes = bytes;
	}
	return *bodies && napi_create_reference(env, value, 1, keep) == napi_ok;
}

/* Begins `execute` in the thread pool; `work` is to be deleted in any case, where it is not NULL. False: nothing began. */
static inline bool start_work(napi_env env, const char *name, napi_async_execute_callback execute,
                              napi_async_complete_callback complete, void *data, napi_async_work *work,
                              napi_deferred *deferred, napi_value *promise)
{
	napi_value resource;
	return napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &resource) == napi_ok &&
	       napi_create_async_work(env, NULL, resource, execute, complete, data, work) == napi_ok &&
	       napi_create_promise(env, deferred, promise) == napi_ok && napi_queue_async_work(env, *work) == napi_ok;
}

struct exported {
	const char *name;
	napi_callback function;
};

static inline void export_functions(napi_env env, napi_value exports, const struct exported *functions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		napi_value function;
		napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function);
		napi_set_named_property(env, exports, functions[i].name, function);
	}
}

#endif
