/* Answers reads of files that lie as chunks on the local disk: see src/mount/fuse/chunk-reader.ts and memory-reader.ts. */
#ifndef TVIX_STORE_CHUNK_READER_H
#define TVIX_STORE_CHUNK_READER_H

#include <node_api.h>

napi_value start_reader(napi_env env, napi_callback_info info);
napi_value start_memory_reader(napi_env env, napi_callback_info info);
napi_value read_into(napi_env env, napi_callback_info info);
napi_value read_chunks(napi_env env, napi_callback_info info);
napi_value reader_bytes(napi_env env, napi_callback_info info);
napi_value stop_reader(napi_env env, napi_callback_info info);

#endif
