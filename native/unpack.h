/* One chunk that came from afar, decompressed and compared with its digest in one trip to the thread pool. */
#ifndef TVIX_STORE_UNPACK_H
#define TVIX_STORE_UNPACK_H

#include <node_api.h>

/*
 * unpackChunk(frames, digest, into): a promise of 1 when what is in the frames fills `into` and has this digest, of 0
 * when not; or -errno. Nobody may touch `frames` and `into` until then; what `into` holds otherwise means nothing.
 */
napi_value unpack_chunk(napi_env env, napi_callback_info info);

#endif
