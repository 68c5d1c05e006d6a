/* Listings that are answered before JavaScript hears of them: see src/mount/fuse/prepared-listings.ts. */
#ifndef TVIX_STORE_PREPARED_LISTINGS_H
#define TVIX_STORE_PREPARED_LISTINGS_H

#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prepared_listings;

napi_value create_listings(napi_env env, napi_callback_info info);
napi_value prepare_listing(napi_env env, napi_callback_info info);

/* NULL for what is none. */
struct prepared_listings *listings_of(napi_env env, napi_value value);

/*
 * Answers a request of `length` bytes, if it is to list what was prepared. False: JavaScript is to answer it, and nothing was
 * done. `tables` are those of the inodes.
 */
bool answer_listing(napi_env env, struct prepared_listings *listings, napi_value tables, int device, const uint8_t *request,
                    size_t length);

#endif
