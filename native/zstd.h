/* libzstd, which is a part of the node executable: it exports the functions, and its header is not there. */
#ifndef TVIX_STORE_ZSTD_H
#define TVIX_STORE_ZSTD_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False when this node has no libzstd that could be used. Call it first, on the thread of JavaScript. */
bool zstd_found(void);

/* All frames of `frames`, into `into`, with the context of this thread: bytes, or less than 0 (-error of libzstd). */
int64_t zstd_decompress(uint8_t *into, size_t room, const uint8_t *frames, size_t length);

napi_value zstd_compress_call(napi_env env, napi_callback_info info);
napi_value zstd_decompress_call(napi_env env, napi_callback_info info);

#endif
