/* The end of a process without what Node does before it: see src/support/end-process.ts. */
#include <unistd.h>

#include "values.h"

/* endNow(code): does not return. */
static napi_value end_now(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int32_t code;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &code) != napi_ok)
		return integer(env, -EINVAL);
	_exit(code);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {{"endNow", end_now}};
	export_functions(env, exports, functions, 1);
	return exports;
}
