/*
 * Many objects of a folder stored in one trip to the thread pool, where a trip for each step of each costs several times
 * the work. It decides nothing: which, where, when they are synced and what a failure means is said in
 * src/services/objects/file-batch.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "object_presence.h"
#include "pool_job.h"
#include "stored_frame.h"
#include "zstd.h"

/* What zstd makes of noise is this much longer (ZSTD_compressBound). */
#define FRAME_MAX(size) ((size) + ((size) >> 8) + 512)
/* Below the root; a key has at most this many characters. */
#define KEY_MAX 512
#define TEMP_MAX 128

/* What became of an object; less than 0: -errno. As OUTCOME of src/services/objects/native-files.ts. */
enum { THERE_ALREADY = 0, DONE = 1, DONE_IN_NEW_FOLDER = 2 };

enum step { WRITE_TEMPS, PUBLISH, CREATE_EMPTY, REMOVE_TEMPS };

struct job {
	struct pool_job pool;
	enum step step;
	struct body *bodies;
	/* One behind the other, each with its NUL. */
	char *keys;
	int32_t *outcomes;
	size_t count;
	/* 0: bodies are stored as they are. */
	int32_t zstd_level;
	bool is_synced;
	char root[STRING_MAX];
	char temp[TEMP_MAX];
};

/* Where frames are made, kept from one to the next. */
struct room {
	uint8_t *bytes;
	size_t size;
};

static void temp_of(const struct job *job, size_t i, char name[TEMP_MAX + 16])
{
	snprintf(name, TEMP_MAX + 16, "%s%u", job->temp, (unsigned)i);
}

/* Creates the folder that `path` is in, and those above it. 0 or -errno. */
static int make_folder_of(int root, const char *path)
{
	char folder[KEY_MAX];
	const char *slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	memcpy(folder, path, slash - path);
	folder[slash - path] = 0;
	if (mkdirat(root, folder, 0777) == 0 || errno == EEXIST)
		return 0;
	if (errno != ENOENT)
		return -errno;
	int result = make_folder_of(root, folder);
	if (result < 0)
		return result;
	return mkdirat(root, folder, 0777) == 0 || errno == EEXIST ? 0 : -errno;
}

/* Whether there is a file. Less than 0 when that cannot be said. */
static int is_there(int root, const char *key)
{
	struct stat found;
	if (fstatat(root, key, &found, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(found.st_mode);
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

static int create(int root, const char *path, bool *in_new_folder)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
	int fd = openat(root, path, flags, 0666);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	int result = make_folder_of(root, path);
	if (result < 0)
		return result;
	*in_new_folder = true;
	fd = openat(root, path, flags, 0666);
	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, bytes, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		bytes += written;
		length -= written;
	}
	return 0;
}

/* One frame in `room` in the place of the body. */
static int compress(const struct job *job, struct body *body, struct room *room)
{
	size_t needed = FRAME_MAX(body->length);
	if (room->size < needed) {
		free(room->bytes);
		room->bytes = malloc(needed);
		room->size = room->bytes ? needed : 0;
		if (!room->bytes)
			return -ENOMEM;
	}
	int64_t length = zstd_compress(room->bytes, room->size, body->bytes, body->length, job->zstd_level);
	/* Nothing can be wrong with the bytes: it is out of memory. */
	if (length < 0)
		return -ENOMEM;
	*body = (struct body){room->bytes, length};
	return 0;
}

static int write_temp(const struct job *job, int root, size_t i, const char *key, struct room *room)
{
	char temp[TEMP_MAX + 16];
	int there = is_there(root, key);
	if (there != 0)
		return there < 0 ? there : THERE_ALREADY;
	struct body body = job->bodies[i];
	bool is_zstd = job->zstd_level != 0 && body.length > 0, is_noise = is_zstd && looks_like_noise(body.bytes, body.length);
	int result = is_zstd && !is_noise ? compress(job, &body, room) : 0;
	if (result < 0)
		return result;
	temp_of(job, i, temp);
	bool ignored;
	int fd = create(root, temp, &ignored);
	if (fd < 0)
		return fd;
	result = is_noise ? write_stored_frame(fd, body.bytes, body.length) : write_all(fd, body.bytes, body.length);
	if (result == 0 && job->is_synced && fsync(fd) < 0)
		result = -errno;
	if (close(fd) < 0 && result == 0)
		result = -errno;
	if (result < 0)
		unlinkat(root, temp, 0);
	return result < 0 ? result : DONE;
}

static int publish(const struct job *job, int root, size_t i, const char *key)
{
	char temp[TEMP_MAX + 16];
	temp_of(job, i, temp);
	if (renameat(root, temp, root, key) == 0)
		return DONE;
	int result = -errno;
	if (result == -ENOENT && (result = make_folder_of(root, key)) == 0) {
		if (renameat(root, temp, root, key) == 0)
			return DONE_IN_NEW_FOLDER;
		result = -errno;
	}
	unlinkat(root, temp, 0);
	return result;
}

static int create_empty(int root, const char *key)
{
	bool in_new_folder = false;
	int fd = create(root, key, &in_new_folder);
	if (fd < 0) {
		int there = fd == -EEXIST ? is_there(root, key) : 0;
		return there > 0 ? THERE_ALREADY : fd;
	}
	close(fd);
	return in_new_folder ? DONE_IN_NEW_FOLDER : DONE;
}

static int remove_temp(const struct job *job, int root, size_t i)
{
	char temp[TEMP_MAX + 16];
	temp_of(job, i, temp);
	return unlinkat(root, temp, 0) == 0 ? THERE_ALREADY : -errno;
}

static int do_step(const struct job *job, int root, size_t i, const char *key, struct room *room)
{
	switch (job->step) {
	case WRITE_TEMPS:
		return write_temp(job, root, i, key, room);
	case CREATE_EMPTY:
		return create_empty(root, key);
	case PUBLISH:
		return job->outcomes[i] == DONE ? publish(job, root, i, key) : job->outcomes[i];
	default:
		return job->outcomes[i] == DONE ? remove_temp(job, root, i) : job->outcomes[i];
	}
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	struct room room = {NULL, 0};
	const char *key = job->keys;
	(void)env;
	int root = open(job->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int error = root < 0 ? -errno : 0;
	for (size_t i = 0; i < job->count; i++) {
		job->outcomes[i] = error < 0 ? error : do_step(job, root, i, key, &room);
		key += strlen(key) + 1;
	}
	free(room.bytes);
	if (root >= 0)
		close(root);
}

/* `count` keys that are short enough, one behind the other. */
static bool take_keys(napi_env env, napi_value value, struct job *job)
{
	size_t length, count = 0, begin = 0;
	if (napi_get_value_string_latin1(env, value, NULL, 0, &length) != napi_ok)
		return false;
	job->keys = own(&job->pool, length + 1, 1);
	if (!job->keys || napi_get_value_string_latin1(env, value, job->keys, length + 1, &length) != napi_ok)
		return false;
	for (size_t i = 0; i <= length; i++) {
		if (job->keys[i] != 0)
			continue;
		if (i - begin >= KEY_MAX || i == begin)
			return false;
		begin = i + 1;
		count++;
	}
	return count == job->count;
}

static bool take_outcomes(napi_env env, napi_value value, struct job *job)
{
	void *outcomes;
	if (!array_of(env, value, napi_int32_array, &outcomes, &job->count) || job->count == 0)
		return false;
	job->outcomes = outcomes;
	return keep(env, &job->pool, value);
}

static bool take_temp(napi_env env, napi_value value, struct job *job)
{
	size_t length;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= TEMP_MAX)
		return false;
	return napi_get_value_string_utf8(env, value, job->temp, TEMP_MAX, &length) == napi_ok;
}

static napi_value start(napi_env env, napi_callback_info info, enum step step)
{
	napi_value args[7];
	size_t argc = 7;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	job->step = step;
	if (!string_of(env, args[0], job->root) || !take_outcomes(env, args[1], job) ||
	    !take_keys(env, args[2], job) || !take_temp(env, args[3], job))
		return refuse_job(env, &job->pool, EINVAL);
	if (step == WRITE_TEMPS &&
	    (!(job->bodies = bodies_of(env, &job->pool, args[4], job->count)) ||
	     napi_get_value_int32(env, args[5], &job->zstd_level) != napi_ok ||
	     napi_get_value_bool(env, args[6], &job->is_synced) != napi_ok))
		return refuse_job(env, &job->pool, EINVAL);
	if (job->zstd_level != 0 && !zstd_found())
		return refuse_job(env, &job->pool, ENOSYS);
	return start_job(env, &job->pool, "tvix-store:objects", execute);
}

/*
 * All take (root, outcomes, keys, temp): a folder, an Int32Array that gets what became of each, their keys with a NUL
 * between, and what the temp files are called but for their number. They give a promise, or -errno when nothing was done.
 *
 * writeTemps(…, bodies, zstdLevel, isSynced): those that are not there are written beside their places, and synced.
 */
static napi_value write_temps_call(napi_env env, napi_callback_info info)
{
	return start(env, info, WRITE_TEMPS);
}

/* publish(…): those whose outcome says that they were written are renamed to their keys. */
static napi_value publish_call(napi_env env, napi_callback_info info)
{
	return start(env, info, PUBLISH);
}

/* createEmpty(…): empty files under their keys, which need no temp files: nothing in them could be half there. */
static napi_value create_empty_call(napi_env env, napi_callback_info info)
{
	return start(env, info, CREATE_EMPTY);
}

/* removeTemps(…): those that were written. */
static napi_value remove_temps_call(napi_env env, napi_callback_info info)
{
	return start(env, info, REMOVE_TEMPS);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"writeTemps", write_temps_call},
	    {"publish", publish_call},
	    {"createEmpty", create_empty_call},
	    {"removeTemps", remove_temps_call},
	    {"areThere", are_there_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
