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
	uint32_t padding;
};

enum { CHANGED = 1 };

struct piece {
	const uint8_t *bytes;
	size_t length;
};

struct job {
	napi_async_work work;
	napi_deferred deferred;
	napi_ref keep_hash, keep_pieces, keep_files, keep_paths;
	void *hash;
	struct piece *pieces;
	size_t pieces_count;
	struct file *files;
	size_t files_count;
	const char *paths;
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

static int hash_file(struct job *job, const struct file *file, uint8_t *buffer)
{
	/* Neither follow a symlink nor wait for a writer where a file was a moment ago. */
	int fd = open(job->paths + file->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	uint64_t left = file->size;
	int result = is_as_it_was(fd, file) ? 0 : CHANGED;
	while (result == 0 && left > 0) {
		ssize_t got = read(fd, buffer, left < READ_BYTES ? left : READ_BYTES);
		if (got < 0)
			result = -errno;
		else if (got == 0)
			result = CHANGED;
		else if (library.update(job->hash, buffer, got) != 1)
			result = -EIO;
		left -= got > 0 ? got : 0;
	}
	if (result == 0 && !is_as_it_was(fd, file))
		result = CHANGED;
	close(fd);
	return result;
}

static void execute(napi_env env, void *data)
{
	struct job *job = data;
	size_t next = 0;
	(void)env;
	uint8_t *buffer = malloc(READ_BYTES);
	if (!buffer) {
		job->result = -ENOMEM;
		return;
	}
	for (size_t i = 0; i <= job->files_count && job->result == 0; i++) {
		struct file *file = i < job->files_count ? &job->files[i] : NULL;
		size_t before = file ? file->pieces_before : job->pieces_count;
		for (; next < before && next < job->pieces_count; next++)
			if (library.update(job->hash, job->pieces[next].bytes, job->pieces[next].length) != 1)
				job->result = -EIO;
		/* What comes behind a file that is not as it was would be hashed in vain. */
		if (file && (file->outcome = hash_file(job, file, buffer)) != 0)
			break;
	}
	free(buffer);
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

/*
 * update(hash, pieces, files, paths): a promise of 0 or -errno; the outcomes of the files are in their records. One at a
 * time for a hash, and nothing of it may be touched until then.
 */
static napi_value update_call(napi_env env, napi_callback_info info)
{
	napi_value args[4], promise;
	size_t argc = 4;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct job *job = calloc(1, sizeof *job);
	if (!job)
		return integer(env, -ENOMEM);
	int error = EINVAL;
	if (napi_get_value_external(env, args[0], &job->hash) != napi_ok || !take_pieces(env, args[1], job) ||
	    !take_files(env, args[2], args[3], job))
		goto failed;
	error = ENOMEM;
	if (napi_create_reference(env, args[0], 1, &job->keep_hash) != napi_ok ||
	    !start_work(env, "tvix-store:sha256", execute, complete, job, &job->work, &job->deferred,
	                &promise))
		goto failed;
	return promise;
failed:
	forget(env, job);
	return integer(env, -error);
}

static void free_hash(napi_env env, void *hash, void *hint)
{
	(void)env;
	(void)hint;
	library.free(hash);
}

/* create(): a hash, or -errno. */
static napi_value create_call(napi_env env, napi_callback_info info)
{
	napi_value result;
	(void)info;
	if (pthread_once(&once, find) != 0 || !found)
		return integer(env, -ENOSYS);
	void *hash = library.new();
	if (!hash || library.init(hash, library.sha256(), NULL) != 1 ||
	    napi_create_external(env, hash, free_hash, NULL, &result) != napi_ok) {
		library.free(hash);
		return integer(env, -ENOMEM);
	}
	return result;
}

/* digest(hash, into): 0 or -errno. The hash is of no use afterwards. */
static napi_value digest_call(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, room;
	void *hash;
	uint8_t *into;
	unsigned length;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_external(env, args[0], &hash) != napi_ok || !bytes_of(env, args[1], &into, &room) ||
	    room != DIGEST_BYTES)
		return integer(env, -EINVAL);
	return integer(env, library.final(hash, into, &length) == 1 && length == DIGEST_BYTES ? 0 : -EIO);
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
