#define _GNU_SOURCE
#include "chunk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "zstd.h"

/* Chunks that may stay in the page cache: to read them anew costs more than their memory. */
#define SMALL_MAX 65536
#define NAME_BYTES (5 + 2 * BLAKE3_BYTES + 1)

static void name_of(const uint8_t digest[BLAKE3_BYTES], char name[NAME_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	for (int i = 0; i < BLAKE3_BYTES; i++) {
		name[5 + 2 * i] = digits[digest[i] >> 4];
		name[6 + 2 * i] = digits[digest[i] & 15];
	}
	memcpy(name, name + 5, 4);
	name[4] = '/';
	name[5 + 2 * BLAKE3_BYTES] = 0;
}

static bool make_room(struct frame_room *room, size_t size)
{
	if (room->size >= size)
		return true;
	free(room->bytes);
	room->bytes = malloc(size);
	room->size = room->bytes ? size : 0;
	return room->bytes != NULL;
}

/* Since Linux 5.12; older headers lack it. */
#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20
#endif

/* Without waiting for a writer: what has the name of a chunk may be a pipe. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)

/* At once: only what the kernel can open without asking the disk. */
static int open_file(int folder, const char *name, bool at_once)
{
	struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_CACHED};
	if (at_once)
		return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
	return openat(folder, name, OPEN_FLAGS);
}

/* What of the file is in the page cache first; whether there was more, `was_cold` tells. */
static ssize_t read_part(int fd, uint8_t *into, size_t length, off_t offset, bool at_once, bool *was_cold)
{
	struct iovec part = {into, length};
	if (!*was_cold) {
		ssize_t got = preadv2(fd, &part, 1, offset, RWF_NOWAIT);
		if (got >= 0 || at_once || (errno != EAGAIN && errno != EOPNOTSUPP))
			return got;
		*was_cold = true;
	}
	return pread(fd, into, length, offset);
}

/* The compressed file, or less than 1 byte when it cannot be read or has more than `max`. */
static ssize_t read_frame(int fd, size_t max, struct frame_room *room, bool at_once, bool *was_cold)
{
	size_t length = 0;
	if (!make_room(room, max + 1))
		return -1;
	if (!at_once && max <= FRAME_MAX(SMALL_MAX)) {
		/* In one call: a file gives less than was asked for only at its end. Where it does not, the frame is cut. */
		ssize_t got = pread(fd, room->bytes, max + 1, 0);
		return (size_t)got > max ? -1 : got;
	}
	while (length <= max) {
		ssize_t got = read_part(fd, room->bytes + length, max + 1 - length, length, at_once, was_cold);
		if (got < 0)
			return -1;
		if (got == 0)
			return length;
		length += got;
	}
	return 0;
}

enum load_outcome load_chunk(int folder, const uint8_t digest[BLAKE3_BYTES], uint8_t *into, size_t size,
                             struct frame_room *room, bool at_once)
{
	char name[NAME_BYTES];
	bool was_cold = false;
	name_of(digest, name);
	int fd = open_file(folder, name, at_once);
	if (fd < 0)
		return at_once ? CHUNK_WOULD_WAIT : CHUNK_NOT_LOADED;
	ssize_t length = read_frame(fd, FRAME_MAX(size), room, at_once, &was_cold);
	/* The contents are kept above, by who reads them; what is large need not be in memory twice. */
	if (was_cold && size > SMALL_MAX)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	if (length < 0 && at_once)
		return CHUNK_WOULD_WAIT;
	bool is_loaded = length > 0 && zstd_decompress(into, size, room->bytes, length) == (int64_t)size;
	return is_loaded ? CHUNK_LOADED : CHUNK_NOT_LOADED;
}

enum load_outcome load_verified_chunk(int folder, const uint8_t digest[BLAKE3_BYTES], uint8_t *into, size_t size,
                                      struct frame_room *room, bool at_once)
{
	uint8_t actual[BLAKE3_BYTES];
	enum load_outcome outcome = load_chunk(folder, digest, into, size, room, at_once);
	if (outcome != CHUNK_LOADED)
		return outcome;
	blake3(into, size, actual);
	return memcmp(actual, digest, BLAKE3_BYTES) == 0 ? CHUNK_LOADED : CHUNK_NOT_LOADED;
}
