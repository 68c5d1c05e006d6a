#define _GNU_SOURCE
#include "chunk_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "zstd.h"

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

/*
 * The compressed file, or less than 1 byte when it cannot be read or has more than `max`. One call: a regular file gives
 * less than was asked for only at its end. Where one does not, the frame is cut, which is noticed.
 */
static ssize_t read_frame(int fd, size_t max, struct frame_room *room)
{
	if (!make_room(room, max + 1))
		return -1;
	ssize_t length = pread(fd, room->bytes, max + 1, 0);
	return (size_t)length > max ? -1 : length;
}

bool load_chunk(int folder, const uint8_t digest[BLAKE3_BYTES], uint8_t *into, size_t size, struct frame_room *room)
{
	char name[NAME_BYTES];
	name_of(digest, name);
	/* Without waiting: what has the name of a chunk may be a pipe. */
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	ssize_t length = read_frame(fd, FRAME_MAX(size), room);
	close(fd);
	return length > 0 && zstd_decompress(into, size, room->bytes, length) == (int64_t)size;
}
