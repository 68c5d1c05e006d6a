/* Calls back into JavaScript whenever a descriptor can be read, from the event loop itself: no thread, no stream. */
#ifndef TVIX_STORE_DESCRIPTOR_WATCH_H
#define TVIX_STORE_DESCRIPTOR_WATCH_H

#include <node_api.h>

napi_value watch_descriptor(napi_env env, napi_callback_info info);
napi_value unwatch(napi_env env, napi_callback_info info);

#endif
