#define _GNU_SOURCE
#include "nar_frame.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sha256_library.h"

/* A record's note: its contents come from JavaScript. */
#define NOTE_GIVEN 1

void flush(struct nar *nar)
{
	nar->has_failed |= !sha256_update(nar->sha256, nar->buffer, nar->filled);
	nar->filled = 0;
}

/* What is left of the buffer, at least a byte. */
static size_t room_of(struct nar *nar)
{
	if (nar->filled == NAR_BUFFER_BYTES)
		flush(nar);
	return NAR_BUFFER_BYTES - nar->filled;
}

static void put(struct nar *nar, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	nar->size += length;
	if (length >= NAR_BUFFER_BYTES) {
		flush(nar);
		nar->has_failed |= !sha256_update(nar->sha256, from, length);
		return;
	}
	while (length > 0) {
		size_t room = room_of(nar), part = length < room ? length : room;
		memcpy(nar->buffer + nar->filled, from, part);
		nar->filled += part;
		from += part;
		length -= part;
	}
}

static size_t padding_of(uint64_t length)
{
	return (8 - length % 8) % 8;
}

static void put_padding(struct nar *nar, size_t padding)
{
	static const uint8_t zeros[8];
	put(nar, zeros, padding);
}

static void put_length(struct nar *nar, uint64_t length)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = length >> 8 * i;
	put(nar, bytes, sizeof bytes);
}

static void put_string(struct nar *nar, const char *bytes, size_t length)
{
	put_length(nar, length);
	put(nar, bytes, length);
	put_padding(nar, padding_of(length));
}

static void put_words(struct nar *nar, const char *const words[])
{
	for (; *words; words++)
		put_string(nar, *words, strlen(*words));
}

#define PUT_WORDS(nar, ...) put_words(nar, (const char *const[]){__VA_ARGS__, NULL})

/* Ends a node, and the entry that it is in, unless it is the root. */
static void close_node(struct nar *nar)
{
	PUT_WORDS(nar, ")");
	if (nar->depth > 0)
		PUT_WORDS(nar, ")");
}

static void close_file(struct nar *nar)
{
	put_padding(nar, nar->padding);
	nar->is_file_open = false;
	close_node(nar);
}

static bool is_as_it_was(int fd, const struct source_record *record)
{
	struct stat now;
	return fstat(fd, &now) == 0 && is_as_noted(record, &now);
}

static int read_file(struct nar *nar, const struct source_record *record)
{
	/* Neither follow a symlink nor wait for a writer where a file was a moment ago. */
	int fd = open(nar->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	uint64_t left = record->size;
	int result = is_as_it_was(fd, record) ? 0 : NAR_CHANGED;
	while (result == 0 && left > 0) {
		size_t room = room_of(nar);
		ssize_t got = read(fd, nar->buffer + nar->filled, left < room ? left : room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			result = got < 0 ? -errno : NAR_CHANGED;
			break;
		}
		nar->filled += got;
		left -= got;
	}
	if (result == 0 && !is_as_it_was(fd, record))
		result = NAR_CHANGED;
	close(fd);
	nar->size += record->size;
	return result;
}

static int put_file(struct nar *nar, const struct source_record *record)
{
	PUT_WORDS(nar, "(", "type", "regular");
	if (record->mode & S_IXUSR)
		PUT_WORDS(nar, "executable", "");
	PUT_WORDS(nar, "contents");
	put_length(nar, record->size);
	nar->padding = padding_of(record->size);
	nar->is_file_open = true;
	nar->missing = 0;
	if (record->note == NOTE_GIVEN)
		nar->missing = record->size;
	else {
		int result = read_file(nar, record);
		if (result != 0)
			return result;
	}
	if (nar->missing == 0)
		close_file(nar);
	return 0;
}

/* The path becomes that of an entry of the directory that is open, and the entry begins. */
static int enter(struct nar *nar, const char *name, size_t length)
{
	if (nar->depth == 0)
		return nar->size == 0 ? 0 : -EINVAL;
	size_t begin = nar->lengths[nar->depth - 1];
	if (begin + 1 + length >= PATH_MAX)
		return -ENAMETOOLONG;
	nar->path[begin] = '/';
	memcpy(nar->path + begin + 1, name, length);
	nar->path[begin + 1 + length] = 0;
	PUT_WORDS(nar, "entry", "(", "name");
	put_string(nar, name, length);
	PUT_WORDS(nar, "node");
	return 0;
}

int put_record(struct nar *nar, const struct source_record *record, const char *name)
{
	if (nar->is_file_open)
		return -EINVAL;
	if (record->mode == MARK_END) {
		if (nar->depth == 0)
			return -EINVAL;
		nar->depth--;
		close_node(nar);
		return 0;
	}
	int result = enter(nar, name, record->name_length);
	if (result != 0)
		return result;
	if (nar->size == 0)
		PUT_WORDS(nar, "nix-archive-1");
	switch (record->mode & S_IFMT) {
	case S_IFREG:
		return put_file(nar, record);
	case S_IFLNK:
		PUT_WORDS(nar, "(", "type", "symlink", "target");
		put_string(nar, name + record->name_length, record->target_length);
		close_node(nar);
		return 0;
	case S_IFDIR:
		if (nar->depth == NAR_DEPTH_MAX)
			return -EINVAL;
		PUT_WORDS(nar, "(", "type", "directory");
		nar->lengths[nar->depth++] = strlen(nar->path);
		return 0;
	default:
		return -EINVAL;
	}
}

int put_contents(struct nar *nar, const uint8_t *bytes, size_t length)
{
	if (!nar->is_file_open || length > nar->missing)
		return -EINVAL;
	put(nar, bytes, length);
	nar->missing -= length;
	if (nar->missing == 0)
		close_file(nar);
	return 0;
}
