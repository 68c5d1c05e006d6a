/*
 * zstd on the spot, and many chunks of the local disk, read, decompressed and compared with digests in one trip
 * to the thread pool. JavaScript decides which, where to, and what is compared; what cannot be had or is not right is only
 * marked as not done. See src/support/native-codec.ts.
 */
#include <stdlib.h>
#include <string.h>

#include "chunk_file.h"
#include "pool_job.h"
#include "source_values.h"

/* What is done at a place of the buffer, in this order; as src/services/blobs/local-chunks.ts writes it. */
enum action { READ = 1, COMPARE = 2, STAYS = 4 };

struct step {
	uint8_t digest[BLAKE3_BYTES];
	uint32_t offset, size, actions, is_done;
	struct place place;
};

struct load {
	struct pool_job pool;
	struct chunk_source *source;
	struct step *steps;
	size_t count;
	uint8_t *into;
};

static bool read_step(const struct step *step, struct chunk_source *source, uint8_t *into, struct frame_room *room)
{
	const struct chunk chunk = {step->digest, step->digest, step->size, step->place, (step->actions & STAYS) != 0};
	return !(step->actions & READ) ||
	       load_chunk(source, &chunk, into + step->offset, room, false) == CHUNK_LOADED;
}

/* Blobs whose digests are computed side by side. */
#define COMPARED_AT_ONCE 128

static void compare_steps(struct step *const steps[], size_t count, const uint8_t *into)
{
	struct blake3_message messages[COMPARED_AT_ONCE] = {{0}};
	uint8_t digests[COMPARED_AT_ONCE][BLAKE3_BYTES];
	for (size_t i = 0; i < count; i++)
		messages[i] = (struct blake3_message){into + steps[i]->offset, steps[i]->size, digests[i]};
	blake3_many(messages, count);
	for (size_t i = 0; i < count; i++)
		steps[i]->is_done = memcmp(digests[i], steps[i]->digest, BLAKE3_BYTES) == 0;
}

static void execute(napi_env env, void *data)
{
	struct load *load = data;
	struct frame_room room = {NULL, 0};
	(void)env;
	struct step *compared[COMPARED_AT_ONCE];
	size_t count = 0;
	for (struct step *step = load->steps; step < load->steps + load->count; step++) {
		step->is_done = read_step(step, load->source, load->into, &room);
		if (!step->is_done || !(step->actions & COMPARE))
			continue;
		compared[count++] = step;
		if (count < COMPARED_AT_ONCE)
			continue;
		compare_steps(compared, count, load->into);
		count = 0;
	}
	compare_steps(compared, count, load->into);
	free(room.bytes);
}

/* Every place lies within the buffer. */
static bool fits(const struct load *load, size_t room)
{
	for (size_t i = 0; i < load->count; i++)
		if (load->steps[i].offset > room || load->steps[i].size > room - load->steps[i].offset)
			return false;
	return true;
}

/*
 * loadChunks(source, steps, into): a promise that resolves when is_done of the steps tells which succeeded, or -errno.
 * Neither the steps nor their places in `into` may be touched until then.
 */
static napi_value load_chunks(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, bytes, room;
	uint8_t *steps;
	struct load *load = calloc(1, sizeof *load);
	if (!load)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&load->source) != napi_ok || !bytes_of(env, args[1], &steps, &bytes) ||
	    !bytes_of(env, args[2], &load->into, &room) || bytes % sizeof(struct step) != 0 ||
	    (uintptr_t)steps % _Alignof(struct step) != 0)
		return refuse_job(env, &load->pool, EINVAL);
	load->steps = (struct step *)steps;
	load->count = bytes / sizeof(struct step);
	if (!fits(load, room))
		return refuse_job(env, &load->pool, EINVAL);
	for (int i = 0; i < 3; i++)
		if (!keep(env, &load->pool, args[i]))
			return refuse_job(env, &load->pool, ENOMEM);
	return start_job(env, &load->pool, "tvix-store:chunks", execute);
}

/* Enough for every frame that is read on the spot, so that it is never replaced. */
static _Thread_local uint8_t frame_bytes[FRAME_MAX(AT_ONCE_MAX) + 1];

/*
 * loadChunkNow(source, digest, place, into): 1 when the chunk with this digest was put into `into`, which it fills. Never
 * waits. `place`: as a step has it.
 */
static napi_value load_chunk_now(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4, digest_length, place_length, size;
	struct chunk_source *source;
	uint8_t *digest, *place, *into;
	struct frame_room room = {frame_bytes, sizeof frame_bytes};
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&source) != napi_ok ||
	    !bytes_of(env, args[1], &digest, &digest_length) || digest_length != BLAKE3_BYTES ||
	    !bytes_of(env, args[2], &place, &place_length) || place_length != sizeof(struct place) ||
	    !bytes_of(env, args[3], &into, &size) || size > AT_ONCE_MAX)
		return integer(env, 0);
	struct chunk chunk = {.digest = digest, .blob = digest, .size = size};
	memcpy(&chunk.place, place, sizeof chunk.place);
	return integer(env, load_verified_chunk(source, &chunk, into, &room, true) == CHUNK_LOADED);
}

/* When JavaScript has forgotten it; what reads from it keeps it. */
static void forget_source(napi_env env, void *source, void *hint)
{
	(void)env, (void)hint;
	close_chunk_source(source);
}

/* openChunkSource(kind, folder): an object for the others, or -errno. */
static napi_value open_source(napi_env env, napi_callback_info info)
{
	napi_value args[2], external;
	size_t argc = 2;
	struct chunk_source *source;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int error = source_of(env, args[0], args[1], &source);
	if (error)
		return integer(env, -error);
	if (napi_create_external(env, source, forget_source, NULL, &external) == napi_ok)
		return external;
	close_chunk_source(source);
	return integer(env, -ENOMEM);
}

/* blake3(bytes, into): the digest of a message, in the 32 bytes of `into`. 0 or -errno. */
static napi_value blake3_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length, room;
	uint8_t *bytes, *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &bytes, &length) || !bytes_of(env, args[1], &into, &room) || room != BLAKE3_BYTES)
		return integer(env, -EINVAL);
	blake3(bytes, length, into);
	return integer(env, 0);
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
	static const struct exported functions[] = {
	    {"zstdCompress", zstd_compress_call},
	    {"zstdDecompress", zstd_decompress_call},
	    {"blake3", blake3_call},
	    {"openChunkSource", open_source},
	    {"loadChunks", load_chunks},
	    {"loadChunkNow", load_chunk_now},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
