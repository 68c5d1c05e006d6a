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
#include "pool_job.h"

struct job {
	struct pool_job pool;
	int fd;
	/* Of the attribute, or a path */
	char name[STRING_MAX];
	uint8_t *value;
	size_t length;
};

static void run_get(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->pool.result = outcome(fgetxattr(job->fd, job->name, job->value, job->length));
}

static void run_set(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->pool.result = outcome(fsetxattr(job->fd, job->name, job->value, job->length, 0));
}

static void run_touch(napi_env env, void *data)
{
	struct job *job = data;
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	(void)env;
	job->pool.result = outcome(utimensat(AT_FDCWD, job->name, times, 0));
}

static napi_value start_attribute(napi_env env, napi_callback_info info, napi_async_execute_callback execute)
{
	napi_value args[3];
	size_t argc = 3;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_int32(env, args[0], &job->fd) != napi_ok || !string_of(env, args[1], job->name) ||
	    !bytes_of(env, args[2], &job->value, &job->length) || !keep(env, &job->pool, args[2]))
		return refuse_job(env, &job->pool, EINVAL);
	return start_job(env, &job->pool, "tvix-store:file-notes", execute);
}

/*
 * getAttribute(fd, name, into): a promise of its length, or of -errno: ERANGE when it is longer than `into`. The descriptor must
 * stay open until then.
 */
static napi_value get_attribute(napi_env env, napi_callback_info info)
{
	return start_attribute(env, info, run_get);
}

/* setAttribute(fd, name, bytes): a promise of 0 or -errno, likewise. */
static napi_value set_attribute(napi_env env, napi_callback_info info)
{
	return start_attribute(env, info, run_set);
}

/* touchAccess(path): a promise of 0 or -errno. The time of modification stays what it is, to the nanosecond. */
static napi_value touch_access(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (!string_of(env, args[0], job->name))
		return refuse_job(env, &job->pool, EINVAL);
	return start_job(env, &job->pool, "tvix-store:file-notes", run_touch);
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
