#ifndef TVIX_STORE_CHUNK_LOADER_H
#define TVIX_STORE_CHUNK_LOADER_H

#include <node_api.h>

napi_value load_chunks(napi_env env, napi_callback_info info);

#endif
