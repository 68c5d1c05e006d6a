/* Reads chunks of the local disk: what a source has of them is decompressed, where it is not raw. */
#ifndef TVIX_STORE_CHUNK_FILE_H
#define TVIX_STORE_CHUNK_FILE_H

#include "chunk_source.h"

/* A zstd frame of noise is this much longer at most (ZSTD_compressBound, and its header and checksum). */
#define FRAME_MAX(size) ((size) + ((size) >> 7) + 512)

/* Chunks up to here are worth reading on the spot: what is larger takes longer than a trip to a thread. */
#define AT_ONCE_MAX 65536

/* Memory for the compressed file, kept from one to the next; begin with zeros, and free `bytes` in the end. */
struct frame_room {
	uint8_t *bytes;
	size_t size;
};

enum load_outcome { CHUNK_LOADED, CHUNK_NOT_LOADED, CHUNK_WOULD_WAIT };

/*
 * Reads a chunk, whose digest is not compared: CHUNK_LOADED when `chunk->size` bytes were put into `into`, exactly.
 * Never waits for anything but the disk, and with `at_once` not even for that. What is large and was not in the
 * page cache before is not left there. zstd_found() must have been true, unless the source is raw.
 */
enum load_outcome load_chunk(struct chunk_source *source, const struct chunk *chunk, uint8_t *into,
                             struct frame_room *room, bool at_once);

/* The same, and compares the digest. */
enum load_outcome load_verified_chunk(struct chunk_source *source, const struct chunk *chunk, uint8_t *into,
                                      struct frame_room *room, bool at_once);

/*
 * Reads `length` bytes of a raw blob that was found to be right, without hashing anything: they count only if the file still is what it
 * was then, after they were read. `at_once` as above.
 */
enum load_outcome load_known_part(struct chunk_source *source, const uint8_t blob[BLAKE3_BYTES],
                                  const struct file_state *known, uint64_t offset, size_t length, uint8_t *into,
                                  bool at_once);

#endif
