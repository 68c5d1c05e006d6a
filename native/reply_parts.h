/* A reply to the kernel or to a guest, as JavaScript gives it: the beginning of one buffer, and pieces that are not copied. */
#ifndef TVIX_STORE_REPLY_PARTS_H
#define TVIX_STORE_REPLY_PARTS_H

#include <sys/uio.h>

#include "values.h"

/* The caller joins what is more. UIO_MAXIOV of the kernel is 1024. */
#define PARTS_MAX 1024

/* How many, or -EINVAL. `args`: head, its length, and the pieces; what they point to may not be touched until it is used. */
static inline int reply_parts_of(napi_env env, const napi_value args[3], struct iovec parts[PARTS_MAX])
{
	napi_value piece;
	size_t length;
	uint32_t head_length, count;
	uint8_t *data;
	if (!bytes_of(env, args[0], &data, &length) || napi_get_value_uint32(env, args[1], &head_length) != napi_ok ||
	    head_length > length || napi_get_array_length(env, args[2], &count) != napi_ok || count >= PARTS_MAX)
		return -EINVAL;
	parts[0] = (struct iovec){data, head_length};
	for (uint32_t i = 0; i < count; i++) {
		if (napi_get_element(env, args[2], i, &piece) != napi_ok || !bytes_of(env, piece, &data, &length))
			return -EINVAL;
		parts[i + 1] = (struct iovec){data, length};
	}
	return (int)count + 1;
}

#endif
