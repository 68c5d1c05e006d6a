/*
 * SHA-256 of the NAR of a tree, of the entries that its walk found: a file goes from the page cache through the hash without ever
 * being an object of JavaScript, but for those that JavaScript reads for another purpose, too. What it means when a file
 * is not as it was is said in src/transfer/nar-hash.ts.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pool_job.h"
#include "sha256_library.h"
#include "source_record.h"

/* TREE_DEPTH_MAX of src/support/limits.ts is what the walk has open at most. */
#define DEPTH_MAX 256
/* A record's note: its contents come from JavaScript. */
#define NOTE_GIVEN 1
/* What is read and framed is gathered, so that the hash gets much at once; it stays in the nearest cache. */
#define BUFFER_BYTES (64 * 1024)
/* Beside 0 and -errno: a file is not as it was. */
#define CHANGED 1

struct nar_hash {
	void *sha256;
	uint64_t size;
	/* Of the entry that is hashed, and how long it is in each directory that is open. */
	char path[PATH_MAX];
	size_t lengths[DEPTH_MAX];
	size_t depth;
	/* Contents of a file that JavaScript has still to give, and what follows them. */
	uint64_t missing;
	size_t padding;
	bool is_file_open;
};

/* Records of a walk from `from` to `to`, or bytes. */
struct part {
	bool is_records;
	const struct source_record *records;
	const char *names;
	size_t names_length;
	uint32_t from, to;
	const uint8_t *bytes;
	size_t length;
};

struct job {
	struct pool_job pool;
	struct nar_hash *nar;
	uint8_t *buffer;
	size_t filled;
	bool has_failed;
	struct part *parts;
	size_t count;
};

static void flush(struct job *job)
{
	job->has_failed |= !sha256_update(job->nar->sha256, job->buffer, job->filled);
	job->filled = 0;
}

/* What is left of the buffer, at least a byte. */
static size_t room_of(struct job *job)
{
	if (job->filled == BUFFER_BYTES)
		flush(job);
	return BUFFER_BYTES - job->filled;
}

static void put(struct job *job, const void *bytes, size_t length)
{
	const uint8_t *from = bytes;
	job->nar->size += length;
	if (length >= BUFFER_BYTES) {
		flush(job);
		job->has_failed |= !sha256_update(job->nar->sha256, from, length);
		return;
	}
	while (length > 0) {
		size_t room = room_of(job), part = length < room ? length : room;
		memcpy(job->buffer + job->filled, from, part);
		job->filled += part;
		from += part;
		length -= part;
	}
}

static size_t padding_of(uint64_t length)
{
	return (8 - length % 8) % 8;
}

static void put_padding(struct job *job, size_t padding)
{
	static const uint8_t zeros[8];
	put(job, zeros, padding);
}

static void put_length(struct job *job, uint64_t length)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = length >> 8 * i;
	put(job, bytes, sizeof bytes);
}

static void put_string(struct job *job, const char *bytes, size_t length)
{
	put_length(job, length);
	put(job, bytes, length);
	put_padding(job, padding_of(length));
}

static void put_words(struct job *job, const char *const words[])
{
	for (; *words; words++)
		put_string(job, *words, strlen(*words));
}

#define PUT_WORDS(job, ...) put_words(job, (const char *const[]){__VA_ARGS__, NULL})

/* Ends a node, and the entry that it is in, unless it is the root. */
static void close_node(struct job *job)
{
	PUT_WORDS(job, ")");
	if (job->nar->depth > 0)
		PUT_WORDS(job, ")");
}

static void close_file(struct job *job)
{
	put_padding(job, job->nar->padding);
	job->nar->is_file_open = false;
	close_node(job);
}

static bool is_as_it_was(int fd, const struct source_record *record)
{
	struct stat now;
	return fstat(fd, &now) == 0 && is_as_noted(record, &now);
}

static int read_file(struct job *job, const struct source_record *record)
{
	/* Neither follow a symlink nor wait for a writer where a file was a moment ago. */
	int fd = open(job->nar->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	uint64_t left = record->size;
	int result = is_as_it_was(fd, record) ? 0 : CHANGED;
	while (result == 0 && left > 0) {
		size_t room = room_of(job);
		ssize_t got = read(fd, job->buffer + job->filled, left < room ? left : room);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			result = got < 0 ? -errno : CHANGED;
			break;
		}
		job->filled += got;
		left -= got;
	}
	if (result == 0 && !is_as_it_was(fd, record))
		result = CHANGED;
	close(fd);
	job->nar->size += record->size;
	return result;
}

static int put_file(struct job *job, const struct source_record *record)
{
	struct nar_hash *nar = job->nar;
	PUT_WORDS(job, "(", "type", "regular");
	if (record->mode & S_IXUSR)
		PUT_WORDS(job, "executable", "");
	PUT_WORDS(job, "contents");
	put_length(job, record->size);
	nar->padding = padding_of(record->size);
	nar->is_file_open = true;
	nar->missing = 0;
	if (record->note == NOTE_GIVEN)
		nar->missing = record->size;
	else {
		int result = read_file(job, record);
		if (result != 0)
			return result;
	}
	if (nar->missing == 0)
		close_file(job);
	return 0;
}

/* The path becomes that of an entry of the directory that is open, and the entry begins. */
static int enter(struct job *job, const char *name, size_t length)
{
	struct nar_hash *nar = job->nar;
	if (nar->depth == 0)
		return nar->size == 0 ? 0 : -EINVAL;
	size_t begin = nar->lengths[nar->depth - 1];
	if (begin + 1 + length >= PATH_MAX)
		return -ENAMETOOLONG;
	nar->path[begin] = '/';
	memcpy(nar->path + begin + 1, name, length);
	nar->path[begin + 1 + length] = 0;
	PUT_WORDS(job, "entry", "(", "name");
	put_string(job, name, length);
	PUT_WORDS(job, "node");
	return 0;
}

static int put_record(struct job *job, const struct source_record *record, const char *name)
{
	struct nar_hash *nar = job->nar;
	if (nar->is_file_open)
		return -EINVAL;
	if (record->mode == MARK_END) {
		if (nar->depth == 0)
			return -EINVAL;
		nar->depth--;
		close_node(job);
		return 0;
	}
	int result = enter(job, name, record->name_length);
	if (result != 0)
		return result;
	if (nar->size == 0)
		PUT_WORDS(job, "nix-archive-1");
	switch (record->mode & S_IFMT) {
	case S_IFREG:
		return put_file(job, record);
	case S_IFLNK:
		PUT_WORDS(job, "(", "type", "symlink", "target");
		put_string(job, name + record->name_length, record->target_length);
		close_node(job);
		return 0;
	case S_IFDIR:
		if (nar->depth == DEPTH_MAX)
			return -EINVAL;
		PUT_WORDS(job, "(", "type", "directory");
		nar->lengths[nar->depth++] = strlen(nar->path);
		return 0;
	default:
		return -EINVAL;
	}
}

static int put_records(struct job *job, const struct part *part)
{
	int result = 0;
	for (size_t i = part->from; i < part->to && result == 0; i++) {
		const struct source_record *record = &part->records[i];
		uint64_t end = (uint64_t)record->name + record->name_length + record->target_length;
		result = end > part->names_length ? -EINVAL : put_record(job, record, part->names + record->name);
	}
	return result;
}

static int put_given(struct job *job, const struct part *part)
{
	struct nar_hash *nar = job->nar;
	if (!nar->is_file_open || part->length > nar->missing)
		return -EINVAL;
	put(job, part->bytes, part->length);
	nar->missing -= part->length;
	if (nar->missing == 0)
		close_file(job);
	return 0;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	(void)env;
	job->buffer = malloc(BUFFER_BYTES);
	int result = job->buffer ? 0 : -ENOMEM;
	for (size_t i = 0; i < job->count && result == 0; i++)
		result = job->parts[i].is_records ? put_records(job, &job->parts[i]) : put_given(job, &job->parts[i]);
	if (job->buffer)
		flush(job);
	job->pool.result = result == 0 && job->has_failed ? -EIO : result;
	free(job->buffer);
}

static bool element_bytes(napi_env env, napi_value array, uint32_t i, uint8_t **bytes, size_t *length)
{
	napi_value element;
	return napi_get_element(env, array, i, &element) == napi_ok && bytes_of(env, element, bytes, length);
}

static bool take_part(napi_env env, napi_value arrays, uint32_t *next, const uint32_t *range, struct part *part)
{
	uint8_t *bytes;
	if (!element_bytes(env, arrays, (*next)++, &bytes, &part->length))
		return false;
	part->bytes = bytes;
	part->is_records = range[0] < range[1];
	if (!part->is_records)
		return true;
	part->records = (const struct source_record *)bytes;
	part->from = range[0];
	part->to = range[1];
	if (!element_bytes(env, arrays, (*next)++, &bytes, &part->names_length))
		return false;
	part->names = (const char *)bytes;
	return (uintptr_t)part->records % _Alignof(struct source_record) == 0 &&
	       part->to <= part->length / sizeof(struct source_record);
}

static bool take_parts(napi_env env, napi_value arrays, napi_value ranges, struct job *job)
{
	napi_typedarray_type type;
	size_t numbers;
	void *range;
	uint32_t next = 0, length;
	if (napi_get_array_length(env, arrays, &length) != napi_ok ||
	    napi_get_typedarray_info(env, ranges, &type, &numbers, &range, NULL, NULL) != napi_ok ||
	    type != napi_uint32_array)
		return false;
	job->count = numbers / 2;
	job->parts = own(&job->pool, job->count + 1, sizeof *job->parts);
	for (size_t i = 0; job->parts && i < job->count; i++)
		if (!take_part(env, arrays, &next, (const uint32_t *)range + 2 * i, &job->parts[i]))
			return false;
	return job->parts && next == length && keep(env, &job->pool, arrays);
}

/*
 * update(nar, arrays, ranges): a promise of 0, -errno or CHANGED. For each part there are two numbers in `ranges`: where
 * records begin and end, which are two of the arrays with their names; or two equal ones for the contents of the file that
 * is open, which are one. One call at a time, and nothing may be touched until then.
 */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	void *nar;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	if (napi_get_value_external(env, args[0], &nar) != napi_ok || !keep(env, &job->pool, args[0]) ||
	    !take_parts(env, args[1], args[2], job))
		return refuse_job(env, &job->pool, EINVAL);
	job->nar = nar;
	return start_job(env, &job->pool, "tvix-store:nar", execute);
}

static void free_nar(napi_env env, void *data, void *hint)
{
	struct nar_hash *nar = data;
	(void)env;
	(void)hint;
	sha256_free(nar->sha256);
	free(nar);
}

/* create(path): the hash of the NAR of what is there, or -errno. */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value args[1], result;
	size_t argc = 1, length;
	uint8_t *path;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &path, &length) || length >= PATH_MAX)
		return integer(env, -EINVAL);
	if (!sha256_found())
		return integer(env, -ENOSYS);
	struct nar_hash *nar = calloc(1, sizeof *nar);
	if (!nar || !(nar->sha256 = sha256_new())) {
		free(nar);
		return integer(env, -ENOMEM);
	}
	memcpy(nar->path, path, length);
	if (napi_create_external(env, nar, free_nar, NULL, &result) != napi_ok) {
		free_nar(env, nar, NULL);
		return integer(env, -ENOMEM);
	}
	return result;
}

/* path(nar, into): the length of the path of what was hashed last, where a failure was. */
static napi_value path_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *data;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &data) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room < PATH_MAX)
		return integer(env, -EINVAL);
	const char *path = ((struct nar_hash *)data)->path;
	memcpy(into, path, strlen(path));
	return integer(env, strlen(path));
}

/* digest(nar, into): the size of the NAR, or -errno: EINVAL when it is not complete. The hash is of no use afterwards. */
static napi_value digest_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *data;
	uint8_t *into;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &data) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room != SHA256_BYTES)
		return integer(env, -EINVAL);
	struct nar_hash *nar = data;
	if (nar->size == 0 || nar->depth > 0 || nar->is_file_open)
		return integer(env, -EINVAL);
	return integer(env, sha256_final(nar->sha256, into) ? (int64_t)nar->size : -EIO);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"create", create_call},
	    {"update", update_call},
	    {"path", path_call},
	    {"digest", digest_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
