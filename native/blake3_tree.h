/* The parts of the tree that BLAKE3 of a message is, for who has the message piece by piece. */
#ifndef TVIX_STORE_BLAKE3_TREE_H
#define TVIX_STORE_BLAKE3_TREE_H

#include <stddef.h>
#include <stdint.h>

#define BLAKE3_CHUNK_BYTES 1024

/* A chaining value; of the root it is the digest, on little-endian hosts. */
typedef uint32_t words8[8];

enum blake3_position { BLAKE3_INNER = 0, BLAKE3_ROOT = 8 };

/* One chunk, the `counter`-th of the message: up to 1024 bytes, none only when the message is empty. */
void blake3_chunk(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv);

/* A subtree of more than a chunk that begins with the `counter`-th chunk. */
void blake3_subtree(const uint8_t *bytes, size_t length, uint64_t counter, enum blake3_position position, words8 cv);

/* `cv` may be one of the children. */
void blake3_parent(const words8 children[2], enum blake3_position position, words8 cv);

#endif
