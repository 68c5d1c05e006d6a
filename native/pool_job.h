/* The life of a call that works in the thread pool: from its arguments to its promise. */
#ifndef TVIX_STORE_POOL_JOB_H
#define TVIX_STORE_POOL_JOB_H

#include "values.h"

#define KEPT_MAX 4
#define OWNED_MAX 2

/*
 * The first member of what a call works on, which is calloc'ed. Either it is started, and freed once its promise is resolved
 * with `result`; or it is refused.
 */
struct pool_job {
	/* What becomes of the promise: 0 or more, or -errno. */
	int64_t result;
	napi_async_work work;
	napi_deferred deferred;
	/* Values whose memory is worked on, so that they stay. */
	napi_ref kept[KEPT_MAX];
	size_t kept_count;
	/* Memory that is freed with the job. */
	void *owned[OWNED_MAX];
	size_t owned_count;
};

static inline bool keep(napi_env env, struct pool_job *job, napi_value value)
{
	return job->kept_count < KEPT_MAX &&
	       napi_create_reference(env, value, 1, &job->kept[job->kept_count]) == napi_ok && ++job->kept_count;
}

/* `count` times `size` bytes, all zeros, as long as the job lives; or NULL. */
static inline void *own(struct pool_job *job, size_t count, size_t size)
{
	void *memory = job->owned_count < OWNED_MAX ? calloc(count, size) : NULL;
	if (memory)
		job->owned[job->owned_count++] = memory;
	return memory;
}

static inline void free_job(napi_env env, struct pool_job *job)
{
	while (job->kept_count > 0)
		napi_delete_reference(env, job->kept[--job->kept_count]);
	while (job->owned_count > 0)
		free(job->owned[--job->owned_count]);
	if (job->work)
		napi_delete_async_work(env, job->work);
	free(job);
}

static inline void complete_job(napi_env env, napi_status status, void *data)
{
	struct pool_job *job = data;
	napi_resolve_deferred(env, job->deferred, integer(env, status == napi_ok ? job->result : -ECANCELED));
	free_job(env, job);
}

/* What the call answers when it works on nothing: -error. */
static inline napi_value refuse_job(napi_env env, struct pool_job *job, int error)
{
	free_job(env, job);
	return integer(env, -error);
}

/* What the call answers: the promise, or -ENOMEM. `execute` gets the job, on a thread of the pool. */
static inline napi_value start_job(napi_env env, struct pool_job *job, const char *name,
                                   napi_async_execute_callback execute)
{
	napi_value resource, promise;
	if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &resource) != napi_ok ||
	    napi_create_async_work(env, NULL, resource, execute, complete_job, job, &job->work) != napi_ok ||
	    napi_create_promise(env, &job->deferred, &promise) != napi_ok ||
	    napi_queue_async_work(env, job->work) != napi_ok)
		return refuse_job(env, job, ENOMEM);
	return promise;
}

struct body {
	const uint8_t *bytes;
	size_t length;
};

/* Those of an array of `count` Uint8Arrays, which stay; NULL: it is none, or there is no memory. */
static inline struct body *bodies_of(napi_env env, struct pool_job *job, napi_value value, size_t count)
{
	uint32_t length;
	if (napi_get_array_length(env, value, &length) != napi_ok || length != count || !keep(env, job, value))
		return NULL;
	struct body *bodies = own(job, count + 1, sizeof *bodies);
	for (uint32_t i = 0; bodies && i < length; i++) {
		napi_value body;
		uint8_t *bytes;
		if (napi_get_element(env, value, i, &body) != napi_ok || !bytes_of(env, body, &bytes, &bodies[i].length))
			return NULL;
		bodies[i].bytes = bytes;
	}
	return bodies;
}

#endif
