/* Answers reads into memory of JavaScript: see src/mount/fuse/memory-reader.ts. */
#ifndef TVIX_STORE_MEMORY_READS_H
#define TVIX_STORE_MEMORY_READS_H

#include <node_api.h>

napi_value start_memory_reader(napi_env env, napi_callback_info info);
napi_value read_into(napi_env env, napi_callback_info info);
napi_value keep_ahead(napi_env env, napi_callback_info info);

#endif
