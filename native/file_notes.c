/*
 * What can be noted on a file and Node has no calls for: extended attributes, and the time of access alone. What may
 * wait for the disk runs on a thread of the pool. It decides nothing. See src/services/blobs/native-file-notes.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "chunk_source.h"
#include "values.h"

#define VALUE_MAX 64

struct job {
	napi_async_work work;
	napi_deferred deferred;
	int fd;
	/* Of the attribute, or a path */
	char name[STRING_MAX];
	uint8_t value[VALUE_MAX];
	size_t length;
	int64_t result;
};

static void run_get(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->result = outcome(fgetxattr(job->fd, job->name, job->value, sizeof job->value));
}

static void run_set(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->result = outcome(fsetxattr(job->fd, job->name, job->value, job->length, 0));
}

static void run_touch(napi_env env, void *data)
{
	struct job *job = data;
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	(void)env;
	job->result = outcome(utimensat(AT_FDCWD, job->name, times, 0));
}

/* Bytes for what `run_get` found, a number for everything else. */
static napi_value result_of(napi_env env, const struct job *job, bool is_get)
{
	napi_value buffer, bytes;
	void *data;
	if (!is_get || job->result < 0)
		return integer(env, job->result);
	if (napi_create_arraybuffer(env, job->result, &data, &buffer) != napi_ok ||
	    napi_create_typedarray(env, napi_uint8_array, job->result, buffer, 0, &bytes) != napi_ok)
		return integer(env, -ENOMEM);
	memcpy(data, job->value, job->result);
	return bytes;
}

static void settle(napi_env env, napi_status status, struct job *job, bool is_get)
{
	if (status != napi_ok)
		job->result = -ECANCELED;
	napi_resolve_deferred(env, job->deferred, result_of(env, job, is_get));
	napi_delete_async_work(env, job->work);
	free(job);
}

static void finish(napi_env env, napi_status status, void *data)
{
	settle(env, status, data, false);
}

static void finish_get(napi_env env, napi_status status, void *data)
{
	settle(env, status, data, true);
}

static napi_value begin(napi_env env, struct job *job, bool is_valid, napi_async_execute_callback execute,
                        napi_async_complete_callback complete)
{
	napi_value promise;
	if (is_valid && start_work(env, "tvix-store:file-notes", execute, complete, job, &job->work, &job->deferred, &promise))
		return promise;
	if (job && job->work)
		napi_delete_async_work(env, job->work);
	free(job);
	return integer(env, is_valid ? -ENOMEM : -EINVAL);
}

/* getAttribute(fd, name): a promise of its bytes, or of -errno. The descriptor must stay open until then. */
static napi_value get_attribute(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	struct job *job = calloc(1, sizeof *job);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	bool is_valid =
	    job && napi_get_value_int32(env, args[0], &job->fd) == napi_ok && string_of(env, args[1], job->name);
	return begin(env, job, is_valid, run_get, finish_get);
}

/* setAttribute(fd, name, bytes): a promise of 0 or -errno, likewise. */
static napi_value set_attribute(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	uint8_t *bytes;
	struct job *job = calloc(1, sizeof *job);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	bool is_valid = job && napi_get_value_int32(env, args[0], &job->fd) == napi_ok &&
	                string_of(env, args[1], job->name) && bytes_of(env, args[2], &bytes, &job->length) &&
	                job->length <= sizeof job->value;
	if (is_valid)
		memcpy(job->value, bytes, job->length);
	return begin(env, job, is_valid, run_set, finish);
}

/* touchAccess(path): a promise of 0 or -errno. The time of modification stays what it is, to the nanosecond. */
static napi_value touch_access(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	struct job *job = calloc(1, sizeof *job);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	bool is_valid = job && string_of(env, args[0], job->name);
	return begin(env, job, is_valid, run_touch, finish);
}

/* Of an open file: its state, and behind that the attribute, as long as there is room. 0 or -errno. */
static int64_t read_noted(int fd, const char *name, uint8_t *into, size_t room)
{
	struct stat now;
	if (fstat(fd, &now) != 0)
		return -errno;
	const struct file_state state = state_of(&now);
	memcpy(into, &state, sizeof state);
	ssize_t length = fgetxattr(fd, name, into + sizeof state, room - sizeof state);
	return length < 0 ? -errno : sizeof state + length == room ? 0 : -ENODATA;
}

/*
 * openNoted(path, name, into): opens a file for reading if its path is in the kernel's memory, and fills `into` with its state
 * (struct file_state) and with the attribute, which must be as long as the rest. The descriptor, or -errno.
 */
static napi_value open_noted(napi_env env, napi_callback_info info)
{
	struct open_how how = {.flags = OPEN_AS_IT_LIES, .resolve = RESOLVE_CACHED};
	napi_value args[3];
	size_t argc = 3, length;
	uint8_t *into;
	char path[STRING_MAX], name[STRING_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], path) || !string_of(env, args[1], name) || !bytes_of(env, args[2], &into, &length) ||
	    length < sizeof(struct file_state))
		return integer(env, -EINVAL);
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
	if (fd < 0)
		return integer(env, -errno);
	int64_t failed = read_noted(fd, name, into, length);
	if (failed)
		close(fd);
	return integer(env, failed ? failed : fd);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"openNoted", open_noted},
	    {"getAttribute", get_attribute},
	    {"setAttribute", set_attribute},
	    {"touchAccess", touch_access},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
