/* CRC-32 as in zlib and RFC 1952, several times as fast where the processor multiplies polynomials. */
#ifndef TVIX_STORE_CRC32_H
#define TVIX_STORE_CRC32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether there is one; before the first call of the other. */
bool crc32_found(void);

/* As crc32 of zlib: begun with the checksum of what came before. */
uint32_t crc32_of(uint32_t before, const uint8_t *bytes, size_t length);

#endif
