/* Answers reads of a FUSE mount by writing to its device: see src/mount/fuse/chunk-reader.ts. */
#ifndef TVIX_STORE_DEVICE_READS_H
#define TVIX_STORE_DEVICE_READS_H

#include <node_api.h>

napi_value start_reader(napi_env env, napi_callback_info info);
napi_value read_chunks(napi_env env, napi_callback_info info);
napi_value reader_bytes(napi_env env, napi_callback_info info);

#endif
