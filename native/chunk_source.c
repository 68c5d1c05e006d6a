/* See chunk_source.h. */
#define _GNU_SOURCE
#include "chunk_source.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Packs that stay open: opening one costs as much as reading a small chunk of it. */
#define PACKS_OPEN_MAX 64
/* A folder, a slash, and the digest in hexadecimal. */
#define NAME_BYTES (4 + 1 + 2 * BLAKE3_BYTES + 1)

/* A place for an open pack; `fd` is less than 0 where there is none. */
struct open_pack {
	int fd;
	uint32_t number;
	unsigned users;
	uint64_t last_used;
};

struct chunk_source {
	enum source_kind kind;
	/* Less than 0 until it is there. */
	_Atomic int folder;
	pthread_mutex_t mutex;
	struct open_pack packs[PACKS_OPEN_MAX];
	uint64_t clock;
	char path[];
};

struct chunk_source *open_chunk_source(enum source_kind kind, const char *folder)
{
	struct chunk_source *source = calloc(1, sizeof *source + strlen(folder) + 1);
	if (!source)
		return NULL;
	source->kind = kind;
	source->folder = -1;
	pthread_mutex_init(&source->mutex, NULL);
	for (struct open_pack *pack = source->packs; pack < source->packs + PACKS_OPEN_MAX; pack++)
		pack->fd = -1;
	strcpy(source->path, folder);
	return source;
}

void close_chunk_source(struct chunk_source *source)
{
	if (!source)
		return;
	for (struct open_pack *pack = source->packs; pack < source->packs + PACKS_OPEN_MAX; pack++)
		if (pack->fd >= 0)
			close(pack->fd);
	if (source->folder >= 0)
		close(source->folder);
	pthread_mutex_destroy(&source->mutex);
	free(source);
}

enum source_kind kind_of(const struct chunk_source *source)
{
	return source->kind;
}

/* Less than 0 while there is none. */
static int folder_of(struct chunk_source *source)
{
	int folder = atomic_load(&source->folder), none = -1;
	if (folder >= 0)
		return folder;
	folder = open(source->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0 || atomic_compare_exchange_strong(&source->folder, &none, folder))
		return folder;
	/* Another thread was faster. */
	close(folder);
	return none;
}

static int open_file(struct chunk_source *source, const char *name, bool at_once)
{
	struct open_how how = {.flags = OPEN_AS_IT_LIES, .resolve = RESOLVE_CACHED};
	int folder = folder_of(source);
	if (folder < 0)
		return -1;
	if (at_once)
		return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
	return openat(folder, name, OPEN_AS_IT_LIES);
}

/* `<as many digits>/<all digits>` */
static int open_by_digest(struct chunk_source *source, const uint8_t digest[BLAKE3_BYTES], int digits, bool at_once)
{
	static const char hexadecimal[] = "0123456789abcdef";
	char name[NAME_BYTES], *whole = name + digits + 1;
	for (int i = 0; i < BLAKE3_BYTES; i++) {
		whole[2 * i] = hexadecimal[digest[i] >> 4];
		whole[2 * i + 1] = hexadecimal[digest[i] & 15];
	}
	memcpy(name, whole, digits);
	name[digits] = '/';
	whole[2 * BLAKE3_BYTES] = 0;
	return open_file(source, name, at_once);
}

/* One more user of a pack that is open; NULL for one that is not. */
static struct open_pack *use_open_pack(struct chunk_source *source, uint32_t number)
{
	for (struct open_pack *pack = source->packs; pack < source->packs + PACKS_OPEN_MAX; pack++)
		if (pack->fd >= 0 && pack->number == number) {
			pack->users++;
			pack->last_used = ++source->clock;
			return pack;
		}
	return NULL;
}

/* A place that nobody uses, the one that was used longest ago. */
static struct open_pack *idle_place(struct chunk_source *source)
{
	struct open_pack *idle = NULL;
	for (struct open_pack *pack = source->packs; pack < source->packs + PACKS_OPEN_MAX; pack++) {
		if (pack->fd < 0)
			return pack;
		if (pack->users == 0 && (!idle || pack->last_used < idle->last_used))
			idle = pack;
	}
	return idle;
}

/* Not under the mutex: the disk may take its time, and who reads at once must not wait for it. */
static bool open_pack(struct chunk_source *source, uint32_t number, bool at_once, struct source_file *file)
{
	char name[sizeof "00000000.pack"];
	int unwanted = -1;
	snprintf(name, sizeof name, "%08x.pack", number);
	*file = (struct source_file){open_file(source, name, at_once), NULL};
	if (file->fd < 0)
		return false;
	pthread_mutex_lock(&source->mutex);
	struct open_pack *pack = use_open_pack(source, number), *place;
	if (pack) {
		unwanted = file->fd;
	} else if ((place = idle_place(source))) {
		unwanted = place->fd;
		pack = place;
		*pack = (struct open_pack){file->fd, number, 1, ++source->clock};
	}
	/* With all places in use it is closed again after this. */
	if (pack)
		*file = (struct source_file){pack->fd, pack};
	pthread_mutex_unlock(&source->mutex);
	if (unwanted >= 0)
		close(unwanted);
	return true;
}

static bool use_pack(struct chunk_source *source, uint32_t number, bool at_once, struct source_file *file)
{
	pthread_mutex_lock(&source->mutex);
	struct open_pack *pack = use_open_pack(source, number);
	if (pack)
		*file = (struct source_file){pack->fd, pack};
	pthread_mutex_unlock(&source->mutex);
	return pack || open_pack(source, number, at_once, file);
}

bool open_source_file(struct chunk_source *source, const struct chunk *chunk, bool at_once, struct source_file *file)
{
	if (source->kind == SOURCE_PACKS)
		return use_pack(source, chunk->place.pack, at_once, file);
	bool is_loose = source->kind == SOURCE_LOOSE;
	int fd = open_by_digest(source, is_loose ? chunk->digest : chunk->blob, is_loose ? 4 : 2, at_once);
	*file = (struct source_file){fd, NULL};
	return fd >= 0;
}

void close_source_file(struct chunk_source *source, const struct source_file *file)
{
	if (!file->pack) {
		close(file->fd);
		return;
	}
	pthread_mutex_lock(&source->mutex);
	file->pack->users--;
	pthread_mutex_unlock(&source->mutex);
}
