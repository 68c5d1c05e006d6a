/*
 * zstd on the spot, and many chunks of a folder of the local disk, read and decompressed in one trip to the thread pool.
 * JavaScript decides which, where to, and compares their digests; what cannot be had is only marked as not loaded. See
 * src/support/native-codec.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "chunk_file.h"
#include "values.h"
#include "zstd.h"

/* As src/services/blobs/local-chunks.ts writes it. Their contents go to the buffer one behind the other. */
struct wanted {
	uint8_t digest[BLAKE3_BYTES];
	uint32_t size, is_loaded;
};

struct load {
	napi_async_work work;
	napi_deferred deferred;
	/* Both buffers stay while they are worked on. */
	napi_ref keep_records, keep_into;
	struct wanted *records;
	size_t count;
	uint8_t *into;
	char folder[STRING_MAX];
};

static void execute(napi_env env, void *data)
{
	struct load *load = data;
	struct frame_room room = {NULL, 0};
	uint8_t *into = load->into;
	(void)env;
	int folder = open(load->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return;
	for (size_t i = 0; i < load->count; i++) {
		struct wanted *wanted = &load->records[i];
		wanted->is_loaded = load_chunk(folder, wanted->digest, into, wanted->size, &room, false) == CHUNK_LOADED;
		into += wanted->size;
	}
	free(room.bytes);
	close(folder);
}

static void forget(napi_env env, struct load *load)
{
	if (load->keep_records)
		napi_delete_reference(env, load->keep_records);
	if (load->keep_into)
		napi_delete_reference(env, load->keep_into);
	if (load->work)
		napi_delete_async_work(env, load->work);
	free(load);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct load *load = data;
	napi_value nothing;
	(void)status;
	if (napi_get_undefined(env, &nothing) == napi_ok)
		napi_resolve_deferred(env, load->deferred, nothing);
	forget(env, load);
}

/* All that is wanted fits into the buffer. */
static bool fits(const struct load *load, size_t room)
{
	for (size_t i = 0; i < load->count; i++) {
		if (load->records[i].size > room)
			return false;
		room -= load->records[i].size;
	}
	return true;
}

/*
 * loadChunks(folder, records, into): a promise that resolves when is_loaded of the records tells which were put into
 * `into`, or -errno. Neither buffer may be touched until then.
 */
static napi_value load_chunks(napi_env env, napi_callback_info info)
{
	napi_value args[3], name, promise;
	size_t argc = 3, bytes, room;
	uint8_t *records;
	struct load *load = calloc(1, sizeof *load);
	if (!load)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int error = EINVAL;
	if (!string_of(env, args[0], load->folder) || !bytes_of(env, args[1], &records, &bytes) ||
	    !bytes_of(env, args[2], &load->into, &room) || bytes % sizeof(struct wanted) != 0 ||
	    (uintptr_t)records % _Alignof(struct wanted) != 0)
		goto failed;
	load->records = (struct wanted *)records;
	load->count = bytes / sizeof(struct wanted);
	if (!fits(load, room))
		goto failed;
	error = ENOSYS;
	if (!zstd_found())
		goto failed;
	error = ENOMEM;
	napi_create_string_utf8(env, "tvix-store:chunks", NAPI_AUTO_LENGTH, &name);
	if (napi_create_reference(env, args[1], 1, &load->keep_records) != napi_ok ||
	    napi_create_reference(env, args[2], 1, &load->keep_into) != napi_ok ||
	    napi_create_async_work(env, NULL, name, execute, complete, load, &load->work) != napi_ok ||
	    napi_create_promise(env, &load->deferred, &promise) != napi_ok ||
	    napi_queue_async_work(env, load->work) != napi_ok)
		goto failed;
	return promise;
failed:
	forget(env, load);
	return integer(env, -error);
}

/* zstdCompress(bytes, into, level): one frame, with the size of its contents; its bytes, or less than 0. */
static napi_value zstd_compress_call(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, length, room;
	uint8_t *bytes, *into;
	int32_t level;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &bytes, &length) || !bytes_of(env, args[1], &into, &room) ||
	    napi_get_value_int32(env, args[2], &level) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, zstd_found() ? zstd_compress(into, room, bytes, length, level) : -ENOSYS);
}

/* zstdDecompress(frames, into): how many bytes are in all the frames, or less than 0. */
static napi_value zstd_decompress_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length, room;
	uint8_t *frames, *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &frames, &length) || !bytes_of(env, args[1], &into, &room))
		return integer(env, -EINVAL);
	return integer(env, zstd_found() ? zstd_decompress(into, room, frames, length) : -ENOSYS);
}

NAPI_MODULE_INIT()
{
	static const struct {
		const char *name;
		napi_callback function;
	} functions[] = {
	    {"zstdCompress", zstd_compress_call},
	    {"zstdDecompress", zstd_decompress_call},
	    {"loadChunks", load_chunks},
	};
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		napi_value function;
		napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function);
		napi_set_named_property(env, exports, functions[i].name, function);
	}
	return exports;
}
