/* The socket over which a monitor speaks, messages with descriptors on it, and the eventfds that come so. */
#ifndef TVIX_STORE_VHOST_SOCKET_H
#define TVIX_STORE_VHOST_SOCKET_H

#include <node_api.h>

napi_value listen_on(napi_env env, napi_callback_info info);
napi_value accept_on(napi_env env, napi_callback_info info);
napi_value receive_part(napi_env env, napi_callback_info info);
napi_value send_bytes(napi_env env, napi_callback_info info);
napi_value notify(napi_env env, napi_callback_info info);

#endif
