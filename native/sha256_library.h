/* SHA-256 of OpenSSL, which is a part of the node executable: it exports the functions, and its headers may not be there. */
#ifndef TVIX_STORE_SHA256_LIBRARY_H
#define TVIX_STORE_SHA256_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHA256_BYTES 32

bool sha256_found(void);

/* A new hash, or NULL; only where it was found. */
void *sha256_new(void);
void sha256_free(void *hash);
/* False: the hash is of no use any more. */
bool sha256_update(void *hash, const void *bytes, size_t length);
bool sha256_final(void *hash, uint8_t digest[SHA256_BYTES]);

#endif
