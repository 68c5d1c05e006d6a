/*
 * SHA-256 of bytes and of files, one behind the other, in the thread pool: a file goes from the page cache through the
 * hash without ever being an object of JavaScript. Which files, and what it means when one is not as it was, is said in
 * src/support/native-sha256.ts.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "values.h"

#define DIGEST_BYTES 32
#define READ_BYTES (256 * 1024)
/* What a job reads of its files while the one before is hashed; NAR_HASH_BYTES_MAX of src/support/limits.ts. */
#define AHEAD_BYTES (4 * 1024 * 1024)
#define JOBS_MAX 2

/* OpenSSL, which is a part of the node executable: it exports the functions, and its headers may not be there. */
static struct {
	void *(*new)(void);
	void (*free)(void *);
	const void *(*sha256)(void);
	int (*init)(void *, const void *, void *);
	int (*update)(void *, const void *, size_t);
	int (*final)(void *, unsigned char *, unsigned *);
} library;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool found;

static void find(void)
{
	const struct {
		void *function;
		const char *name;
	} symbols[] = {
	    {&library.new, "EVP_MD_CTX_new"},	     {&library.free, "EVP_MD_CTX_free"},
	    {&library.sha256, "EVP_sha256"},	     {&library.init, "EVP_DigestInit_ex"},
	    {&library.update, "EVP_DigestUpdate"}, {&library.final, "EVP_DigestFinal_ex"},
	};
	for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++)
		if (!(*(void **)symbols[i].function = dlsym(RTLD_DEFAULT, symbols[i].name)))
			return;
	found = true;
}

/* As src/support/native-sha256.ts writes it. */
struct file {
	uint64_t size, inode, device, links;
	int64_t modified_ns, changed_ns;
	/* How many of the pieces come before it, and where its path begins. */
	uint32_t pieces_before, path;
	/* 0, -errno, or CHANGED. */
	int32_t outcome;
	/* Bytes that were read ahead. */
	uint32_t ahead;
};

enum { CHANGED = 1 };

/* Jobs are hashed in the order in which they were begun: each waits for its turn. */
struct hash {
	void *context;
	pthread_mutex_t mutex;
	pthread_cond_t turn_came;
	uint64_t turn;
	/* Of the thread of JavaScript: jobs that were begun, and that have ended. */
	uint64_t begun, ended;
	/* Of the jobs that run. */
	uint8_t *ahead[JOBS_MAX];
};

struct piece {
	const uint8_t *bytes;
	size_t length;
};

struct job {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref keep_hash, keep_pieces, keep_files, keep_paths;
	struct hash *hash;
	uint64_t turn;
	struct piece *pieces;
	size_t pieces_count;
	struct file *files;
	size_t files_count;
	const char *paths;
	/* Files of which all is read, and the one after them that is open, if one is. */
	size_t files_read;
	int fd;
	uint64_t left;
	/* 0 or -errno: of the hash itself. */
	int result;
};

static int64_t ns_of(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Who hard-links a file moves its ctime and changes nothing. */
static bool is_as_it_was(int fd, const struct file *file)
{
	struct stat now;
	if (fstat(fd, &now) < 0)
		return false;
	return S_ISREG(now.st_mode) && (uint64_t)now.st_size == file->size && now.st_ino == file->inode &&
	       now.st_dev == file->device && ns_of(now.st_mtim) == file->modified_ns &&
	       (ns_of(now.st_ctim) == file->changed_ns || now.st_nlink != file->links);
}

/* False, with the outcome of the file, where it is not what it should be or cannot be read. */
static bool check(struct file *file, int outcome)
{
	file->outcome = outcome;
	return outcome == 0;
}

static bool open_next(struct job *job)
{
	struct file *file = job->files + job->files_read;
	/* Neither follow a symlink nor wait for a writer where a file was a moment ago. */
	job->fd = open(job->paths + file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	job->left = file->size;
	return check(file, job->fd < 0 ? -errno : is_as_it_was(job->fd, file) ? 0 : CHANGED);
}

/* What is left of the file that is open, as far as there is room. */
static bool read_open(struct job *job, uint8_t *into, size_t room, size_t *length)
{
	size_t wanted = job->left < room ? job->left : room;
	for (*length = 0; *length < wanted;) {
		ssize_t got = read(job->fd, into + *length, wanted - *length);
		if (got <= 0)
			return check(job->files + job->files_read, got < 0 ? -errno : CHANGED);
		*length += got;
	}
	job->left -= *length;
	return true;
}

static bool close_open(struct job *job)
{
	struct file *file = job->files + job->files_read++;
	bool is_right = is_as_it_was(job->fd, file);
	close(job->fd);
	job->fd = -1;
	return check(file, is_right ? 0 : CHANGED);
}

static bool update(struct job *job, const void *bytes, size_t length)
{
	if (library.update(job->hash->context, bytes, length) != 1)
		job->result = -EIO;
	return job->result == 0;
}

/* Until there is no more room. False: a file is not as it was. */
static bool read_ahead(struct job *job, uint8_t *room)
{
	size_t filled = 0, length;
	while (job->files_read < job->files_count && filled < AHEAD_BYTES) {
		struct file *file = job->files + job->files_read;
		if (!open_next(job) || !read_open(job, room + filled, AHEAD_BYTES - filled, &length))
			return false;
		file->ahead = (uint32_t)length;
		filled += length;
		if (job->left > 0)
			return true;
		if (!close_open(job))
			return false;
	}
	return true;
}

/* What is not read yet goes through `buffer`. */
static bool hash_rest(struct job *job, uint8_t *buffer)
{
	size_t length;
	if (job->fd < 0 && !open_next(job))
		return false;
	while (job->left > 0)
		if (!read_open(job, buffer, READ_BYTES, &length) || !update(job, buffer, length))
			return false;
	return close_open(job);
}

static bool hash_pieces(struct job *job, size_t *next, size_t before)
{
	for (; *next < before && *next < job->pieces_count; ++*next)
		if (!update(job, job->pieces[*next].bytes, job->pieces[*next].length))
			return false;
	return true;
}

/* Ends where something is wrong: what comes behind it would be hashed in vain. */
static void hash_all(struct job *job, uint8_t *ahead)
{
	size_t next = 0, filled = 0;
	for (size_t i = 0; i < job->files_count; i++) {
		const struct file *file = job->files + i;
		if (!hash_pieces(job, &next, file->pieces_before) || !update(job, ahead + filled, file->ahead))
			return;
		filled += file->ahead;
		/* The last one that was read ahead, so what was read is hashed by now. */
		if (i >= job->files_read && !hash_rest(job, ahead))
			return;
	}
	hash_pieces(job, &next, job->pieces_count);
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	struct hash *hash = job->hash;
	uint8_t *ahead = hash->ahead[job->turn % JOBS_MAX];
	(void)env;
	bool is_right = read_ahead(job, ahead);
	pthread_mutex_lock(&hash->mutex);
	while (hash->turn != job->turn)
		pthread_cond_wait(&hash->turn_came, &hash->mutex);
	pthread_mutex_unlock(&hash->mutex);
	if (is_right)
		hash_all(job, ahead);
	if (job->fd >= 0)
		close(job->fd);
	pthread_mutex_lock(&hash->mutex);
	hash->turn++;
	pthread_cond_broadcast(&hash->turn_came);
	pthread_mutex_unlock(&hash->mutex);
}

static void forget(napi_env env, struct job *job)
{
	napi_ref references[] = {job->keep_hash, job->keep_pieces, job->keep_files, job->keep_paths};
	for (size_t i = 0; i < sizeof references / sizeof *references; i++)
		if (references[i])
			napi_delete_reference(env, references[i]);
	if (job->work)
		napi_delete_async_work(env, job->work);
	free(job->pieces);
	free(job);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct job *job = data;
	job->hash->ended++;
	napi_resolve_deferred(env, job->deferred, integer(env, status == napi_ok ? job->result : -ECANCELED));
	forget(env, job);
}

static bool take_pieces(napi_env env, napi_value value, struct job *job)
{
	uint32_t length;
	if (napi_get_array_length(env, value, &length) != napi_ok)
		return false;
	job->pieces_count = length;
	job->pieces = calloc(length + 1, sizeof *job->pieces);
	for (uint32_t i = 0; job->pieces && i < length; i++) {
		napi_value piece;
		uint8_t *bytes;
		if (napi_get_element(env, value, i, &piece) != napi_ok ||
		    !bytes_of(env, piece, &bytes, &job->pieces[i].length))
			return false;
		job->pieces[i].bytes = bytes;
	}
	return job->pieces && napi_create_reference(env, value, 1, &job->keep_pieces) == napi_ok;
}

/* Every path ends within `paths`. */
static bool take_files(napi_env env, napi_value files, napi_value paths, struct job *job)
{
	uint8_t *records, *bytes;
	size_t size, length;
	if (!bytes_of(env, files, &records, &size) || !bytes_of(env, paths, &bytes, &length) ||
	    size % sizeof(struct file) != 0 || (uintptr_t)records % _Alignof(struct file) != 0)
		return false;
	job->files = (struct file *)records;
	job->files_count = size / sizeof(struct file);
	job->paths = (const char *)bytes;
	if (job->files_count > 0 && (length == 0 || bytes[length - 1] != 0))
		return false;
	for (size_t i = 0; i < job->files_count; i++)
		if (job->files[i].path >= length)
			return false;
	return napi_create_reference(env, files, 1, &job->keep_files) == napi_ok &&
	       napi_create_reference(env, paths, 1, &job->keep_paths) == napi_ok;
}

/* The room for the files of the job, which the one before the last has left. */
static bool take_turn(struct job *job)
{
	struct hash *hash = job->hash;
	uint8_t **ahead = &hash->ahead[hash->begun % JOBS_MAX];
	if (job->files_count > 0 && !*ahead && !(*ahead = malloc(AHEAD_BYTES)))
		return false;
	job->turn = hash->begun;
	return true;
}

/*
 * update(hash, pieces, files, paths): a promise of 0 or -errno; the outcomes of the files are in their records, and nothing
 * of it may be touched until then. While one is hashed the files of the next are read: JOBS_MAX at a time for a hash. A job
 * that waits for its turn keeps a thread of the pool, which takes jobs in their order, so the one before it has one, too.
 */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[4], promise;
	size_t argc = 4;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	job->fd = -1;
	int error = EINVAL;
	if (napi_get_value_external(env, args[0], (void **)&job->hash) != napi_ok || !take_pieces(env, args[1], job) ||
	    !take_files(env, args[2], args[3], job))
		goto failed;
	error = EBUSY;
	if (job->hash->begun - job->hash->ended >= JOBS_MAX)
		goto failed;
	error = ENOMEM;
	if (!take_turn(job) || napi_create_reference(env, args[0], 1, &job->keep_hash) != napi_ok ||
	    !start_work(env, "tvix-store:sha256", execute, complete, job, &job->work, &job->deferred,
	                &promise))
		goto failed;
	job->hash->begun++;
	return promise;
failed:
	forget(env, job);
	return integer(env, -error);
}

static void close_hash(struct hash *hash)
{
	library.free(hash->context);
	for (size_t i = 0; i < JOBS_MAX; i++)
		free(hash->ahead[i]);
	pthread_cond_destroy(&hash->turn_came);
	pthread_mutex_destroy(&hash->mutex);
	free(hash);
}

static void free_hash(napi_env env, void *hash, void *hint)
{
	(void)env;
	(void)hint;
	close_hash(hash);
}

/* create(): a hash, or -errno. */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value result;
	(void)info;
	if (pthread_once(&once, find) != 0 || !found)
		return integer(env, -ENOSYS);
	struct hash *hash = calloc(1, sizeof *hash);
	if (!hash)
		return integer(env, -ENOMEM);
	pthread_mutex_init(&hash->mutex, NULL);
	pthread_cond_init(&hash->turn_came, NULL);
	hash->context = library.new();
	if (!hash->context || library.init(hash->context, library.sha256(), NULL) != 1 ||
	    napi_create_external(env, hash, free_hash, NULL, &result) != napi_ok) {
		close_hash(hash);
		return integer(env, -ENOMEM);
	}
	return result;
}

/* digest(hash, into): 0 or -errno. The hash is of no use afterwards. */
static napi_value digest_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	struct hash *hash;
	uint8_t *into;
	unsigned length;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], (void **)&hash) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room != DIGEST_BYTES)
		return integer(env, -EINVAL);
	return integer(env, library.final(hash->context, into, &length) == 1 && length == DIGEST_BYTES ? 0 : -EIO);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"create", create_call},
	    {"update", update_call},
	    {"digest", digest_call},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
