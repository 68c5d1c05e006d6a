/*
 * zstd with contexts that are kept, one for each thread: making one costs several times what the few KiB of a usual file
 * cost, and node:zlib makes one for every call.
 */
#define _GNU_SOURCE
#include "zstd.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

static struct {
	void *(*create_compressor)(void);
	size_t (*free_compressor)(void *);
	size_t (*compress)(void *, void *, size_t, const void *, size_t, int);
	void *(*create_decompressor)(void);
	size_t (*free_decompressor)(void *);
	size_t (*decompress)(void *, void *, size_t, const void *, size_t);
	unsigned (*is_error)(size_t);
} library;

struct contexts {
	void *compressor, *decompressor;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t of_thread;
static bool found;

static void free_contexts(void *value)
{
	struct contexts *contexts = value;
	if (contexts->compressor)
		library.free_compressor(contexts->compressor);
	if (contexts->decompressor)
		library.free_decompressor(contexts->decompressor);
	free(contexts);
}

static void find(void)
{
	const struct {
		void *function;
		const char *name;
	} symbols[] = {
	    {&library.create_compressor, "ZSTD_createCCtx"},   {&library.free_compressor, "ZSTD_freeCCtx"},
	    {&library.compress, "ZSTD_compressCCtx"},          {&library.create_decompressor, "ZSTD_createDCtx"},
	    {&library.free_decompressor, "ZSTD_freeDCtx"},     {&library.decompress, "ZSTD_decompressDCtx"},
	    {&library.is_error, "ZSTD_isError"},
	};
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
		if (!(*(void **)symbols[i].function = dlsym(RTLD_DEFAULT, symbols[i].name)))
			return;
	found = pthread_key_create(&of_thread, free_contexts) == 0;
}

bool zstd_found(void)
{
	return pthread_once(&once, find) == 0 && found;
}

/* NULL without memory. */
static struct contexts *contexts_of_thread(void)
{
	struct contexts *contexts = pthread_getspecific(of_thread);
	if (contexts)
		return contexts;
	contexts = calloc(1, sizeof *contexts);
	if (contexts && pthread_setspecific(of_thread, contexts) != 0) {
		free(contexts);
		return NULL;
	}
	return contexts;
}

static int64_t result_of(size_t result)
{
	/* Errors of libzstd are small negative numbers. */
	return library.is_error(result) ? (int64_t)(ptrdiff_t)result : (int64_t)result;
}

int64_t zstd_decompress(uint8_t *into, size_t room, const uint8_t *frames, size_t length)
{
	struct contexts *contexts = contexts_of_thread();
	if (!contexts || (!contexts->decompressor && !(contexts->decompressor = library.create_decompressor())))
		return -ENOMEM;
	return result_of(library.decompress(contexts->decompressor, into, room, frames, length));
}

int64_t zstd_compress(uint8_t *into, size_t room, const uint8_t *bytes, size_t length, int level)
{
	struct contexts *contexts = contexts_of_thread();
	if (!contexts || (!contexts->compressor && !(contexts->compressor = library.create_compressor())))
		return -ENOMEM;
	return result_of(library.compress(contexts->compressor, into, room, bytes, length, level));
}
