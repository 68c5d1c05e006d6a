/*
 * A tree of files is walked in the thread pool, some entries a trip, in the order of a NAR: depth first, names by their
 * bytes. What is listed ahead are the names of the directories that are open; states are asked for in their turn. What the
 * entries mean is said in src/transfer/ingest-tree.ts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool_job.h"
#include "source_record.h"

/* What an entry takes of the names, at most: a name and the target of a symlink, or the path of a failure. */
#define NAME_ROOM (PATH_MAX + NAME_MAX + 1)
#define NAMES_BEGIN 4096

/* A directory that is open. Each name has the type of its entry before it, as readdir(3) gives it, and a NUL behind it. */
struct level {
	char *names;
	/* Where each begins, in their order. */
	uint32_t *order;
	size_t count, next, path_length;
};

struct walk {
	/* Of the entry that is looked at. */
	char path[PATH_MAX];
	struct level *levels;
	size_t depth, depth_max, names_max;
	bool is_begun, is_over;
};

struct job {
	struct pool_job pool;
	struct walk *walk;
	struct source_record *records;
	size_t count, records_max;
	char *names;
	size_t names_length, names_room;
};

static struct source_record *add_record(struct job *job, uint32_t mode, const char *name, size_t length)
{
	struct source_record *record = &job->records[job->count++];
	memset(record, 0, sizeof *record);
	record->mode = mode;
	record->name = job->names_length;
	record->name_length = length;
	memcpy(job->names + job->names_length, name, length);
	job->names_length += length;
	return record;
}

static void fail(struct job *job, int doing, int error)
{
	const char *path = job->walk->path;
	struct source_record *record = add_record(job, MARK_FAILURE, path, strlen(path));
	record->size = doing;
	record->inode = error;
	job->walk->is_over = true;
}

static int compare(const void *a, const void *b, void *names)
{
	return strcmp((const char *)names + *(const uint32_t *)a + 1, (const char *)names + *(const uint32_t *)b + 1);
}

static bool grow(void **array, size_t *room, size_t needed, size_t size)
{
	if (needed <= *room)
		return true;
	size_t wanted = *room * 2 > needed ? *room * 2 : needed;
	void *grown = realloc(*array, wanted * size);
	if (!grown)
		return false;
	*array = grown;
	*room = wanted;
	return true;
}

/* The names in `folder`, as they come. 0, the number of an error, or -1 when there are too many bytes of them. */
static int read_names(DIR *folder, size_t names_max, struct level *level)
{
	size_t names_room = 0, order_room = 0, length = 0;
	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(folder);
		if (!entry)
			return errno;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		size_t size = strlen(entry->d_name) + 2;
		if (length + size > names_max)
			return -1;
		size_t needed = length + size > NAMES_BEGIN ? length + size : NAMES_BEGIN;
		if (!grow((void **)&level->names, &names_room, needed, 1) ||
		    !grow((void **)&level->order, &order_room, level->count + 1, sizeof *level->order))
			return ENOMEM;
		level->names[length] = entry->d_type;
		memcpy(level->names + length + 1, entry->d_name, size - 1);
		level->order[level->count++] = length;
		length += size;
	}
}

static void close_level(struct walk *walk)
{
	struct level *level = &walk->levels[--walk->depth];
	free(level->names);
	free(level->order);
}

/* Lists the directory at the path; false when that failed. It may have become a symlink, which is not followed. */
static bool open_level(struct job *job)
{
	struct walk *walk = job->walk;
	if (walk->depth == walk->depth_max) {
		fail(job, FAILED_DEPTH, 0);
		return false;
	}
	int fd = open(walk->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	DIR *folder = fd < 0 ? NULL : fdopendir(fd);
	if (!folder) {
		fail(job, FAILED_LIST, errno);
		if (fd >= 0)
			close(fd);
		return false;
	}
	struct level *level = &walk->levels[walk->depth++];
	*level = (struct level){.path_length = strlen(walk->path)};
	int error = read_names(folder, walk->names_max, level);
	closedir(folder);
	if (error != 0) {
		fail(job, error < 0 ? FAILED_NAMES : FAILED_LIST, error);
		return false;
	}
	if (level->count > 0)
		qsort_r(level->order, level->count, sizeof *level->order, compare, level->names);
	return true;
}

static void add_file(struct job *job, const char *name, size_t length)
{
	struct stat state;
	if (fstatat(AT_FDCWD, job->walk->path, &state, AT_SYMLINK_NOFOLLOW) < 0)
		fail(job, FAILED_STAT, errno);
	else if (!S_ISREG(state.st_mode))
		fail(job, FAILED_CHANGED, 0);
	else
		note_state(add_record(job, 0, name, length), &state);
}

static void add_symlink(struct job *job, const char *name, size_t length)
{
	char target[PATH_MAX];
	ssize_t target_length = readlink(job->walk->path, target, sizeof target);
	if (target_length < 0) {
		fail(job, FAILED_READLINK, errno);
		return;
	}
	struct source_record *record = add_record(job, S_IFLNK, name, length);
	record->target_length = target_length;
	memcpy(job->names + job->names_length, target, target_length);
	job->names_length += target_length;
}

/* Of the root, and on file systems that do not tell it with the names. */
static bool find_type(struct job *job, uint32_t *type)
{
	struct stat state;
	if (fstatat(AT_FDCWD, job->walk->path, &state, AT_SYMLINK_NOFOLLOW) < 0) {
		fail(job, FAILED_STAT, errno);
		return false;
	}
	*type = state.st_mode & S_IFMT;
	return true;
}

/* What is at the path. A file that is none any more was replaced a moment ago. */
static void add_of_type(struct job *job, uint32_t type, const char *name, size_t length)
{
	if (type == S_IFREG) {
		add_file(job, name, length);
		return;
	}
	if (type == S_IFLNK) {
		add_symlink(job, name, length);
		return;
	}
	add_record(job, type, name, length);
	if (type == S_IFDIR)
		open_level(job);
}

static void add_entry(struct job *job, const struct level *level, const char *entry)
{
	struct walk *walk = job->walk;
	uint32_t type = DTTOIF((unsigned char)entry[0]);
	const char *name = entry + 1;
	size_t length = strlen(name);
	if (level->path_length + 1 + length >= PATH_MAX) {
		fail(job, FAILED_STAT, ENAMETOOLONG);
		return;
	}
	walk->path[level->path_length] = '/';
	memcpy(walk->path + level->path_length + 1, name, length + 1);
	if (entry[0] != DT_UNKNOWN || find_type(job, &type))
		add_of_type(job, type, name, length);
}

/* The root, which has no name. */
static void begin(struct job *job)
{
	uint32_t type;
	if (!find_type(job, &type))
		return;
	add_of_type(job, type, "", 0);
	job->walk->is_over |= job->walk->depth == 0;
}

static void step(struct job *job)
{
	struct walk *walk = job->walk;
	struct level *level = &walk->levels[walk->depth - 1];
	if (level->next < level->count) {
		add_entry(job, level, level->names + level->order[level->next++]);
		return;
	}
	close_level(walk);
	add_record(job, MARK_END, "", 0);
	walk->is_over = walk->depth == 0;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	struct walk *walk = job->walk;
	(void)env;
	if (!walk->is_begun) {
		walk->is_begun = true;
		begin(job);
	}
	/* An entry may be two records: a directory, and the failure to list it. */
	while (!walk->is_over && job->count + 1 < job->records_max && job->names_length + 2 * NAME_ROOM <= job->names_room)
		step(job);
	job->pool.result = job->count;
}

static bool take_room(napi_env env, napi_value records, napi_value names, struct job *job)
{
	uint8_t *record_bytes, *name_bytes;
	size_t size;
	if (!bytes_of(env, records, &record_bytes, &size) || !bytes_of(env, names, &name_bytes, &job->names_room) ||
	    (uintptr_t)record_bytes % _Alignof(struct source_record) != 0)
		return false;
	job->records = (struct source_record *)record_bytes;
	job->records_max = size / sizeof(struct source_record);
	job->names = (char *)name_bytes;
	return job->records_max >= 2 && job->names_room >= 2 * NAME_ROOM &&
	       keep(env, &job->pool, records) && keep(env, &job->pool, names);
}

/*
 * next(walk, records, names): a promise of the number of entries that were written, 0 when there are no more; or -errno.
 * One call at a time.
 */
static napi_value next_call(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	void *walk;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_external(env, args[0], &walk) != napi_ok || !keep(env, &job->pool, args[0]) ||
	    !take_room(env, args[1], args[2], job))
		return refuse_job(env, &job->pool, EINVAL);
	job->walk = walk;
	return start_job(env, &job->pool, "tvix-store:walk", execute);
}

static void free_walk(napi_env env, void *data, void *hint)
{
	struct walk *walk = data;
	(void)env;
	(void)hint;
	while (walk->depth > 0)
		close_level(walk);
	free(walk->levels);
	free(walk);
}

/*
 * create(path, depthMax, namesMax): a walk of what is there, or -errno. So many directories may be open, each
 * with so many bytes of names.
 */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value args[3], result;
	size_t argc = 3, length;
	uint8_t *path;
	uint32_t depth_max, names_max;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &path, &length) || length == 0 ||
	    napi_get_value_uint32(env, args[1], &depth_max) != napi_ok || depth_max == 0 ||
	    napi_get_value_uint32(env, args[2], &names_max) != napi_ok)
		return integer(env, -EINVAL);
	if (length >= PATH_MAX)
		return integer(env, -ENAMETOOLONG);
	struct walk *walk = calloc(1, sizeof *walk);
	if (walk)
		walk->levels = calloc(depth_max, sizeof *walk->levels);
	if (!walk || !walk->levels) {
		free(walk);
		return integer(env, -ENOMEM);
	}
	memcpy(walk->path, path, length);
	walk->depth_max = depth_max;
	walk->names_max = names_max;
	if (napi_create_external(env, walk, free_walk, NULL, &result) != napi_ok) {
		free_walk(env, walk, NULL);
		return integer(env, -ENOMEM);
	}
	return result;
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"create", create_call},
	    {"next", next_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
