/* Puts small files into the page cache of a mount, ahead of being asked for them: see src/mount/fuse/page-filler.ts. */
#ifndef TVIX_STORE_PAGE_FILLER_H
#define TVIX_STORE_PAGE_FILLER_H

#include <node_api.h>

napi_value start_filler(napi_env env, napi_callback_info info);
napi_value may_fill(napi_env env, napi_callback_info info);
napi_value is_filling(napi_env env, napi_callback_info info);
napi_value fill(napi_env env, napi_callback_info info);
napi_value filler_counts(napi_env env, napi_callback_info info);
napi_value stop_filler(napi_env env, napi_callback_info info);

#endif
