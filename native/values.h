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

/* The elements of a typed array of that type, and how many they are. */
static inline bool array_of(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length)
{
	napi_typedarray_type type;
	return napi_get_typedarray_info(env, value, &type, length, data, NULL, NULL) == napi_ok && type == wanted;
}

static inline bool bytes_of(napi_env env, napi_value value, uint8_t **data, size_t *length)
{
	void *start;
	if (!array_of(env, value, napi_uint8_array, &start, length))
		return false;
	*data = start;
	return true;
}

static inline bool string_of(napi_env env, napi_value value, char out[STRING_MAX])
{
	size_t length;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= STRING_MAX)
		return false;
	return napi_get_value_string_utf8(env, value, out, STRING_MAX, &length) == napi_ok;
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
