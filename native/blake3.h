/* BLAKE3 of a message in memory (https://github.com/BLAKE3-team/BLAKE3-specs, §2), for threads that JavaScript is not on. */
#ifndef TVIX_STORE_BLAKE3_H
#define TVIX_STORE_BLAKE3_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE3_BYTES 32
void blake3(const uint8_t *message, size_t length, uint8_t digest[BLAKE3_BYTES]);

struct blake3_message {
	const uint8_t *bytes;
	size_t length;
	uint8_t *digest;
};

/* The same for many: small ones side by side, which takes a quarter of the time. */
void blake3_many(const struct blake3_message *messages, size_t count);

#endif
