#ifndef TVIX_STORE_OBJECT_PRESENCE_H
#define TVIX_STORE_OBJECT_PRESENCE_H

#include <node_api.h>

/*
 * areThere(root, prefix, digests, answers): a promise; the Int32Array gets 1 for each file `<prefix>/<4 hex>/<64 hex>` below
 * the root that is there, 0 for each that is not, and -errno where that cannot be said. Or -errno when nothing was done.
 */
napi_value are_there_call(napi_env env, napi_callback_info info);

#endif
