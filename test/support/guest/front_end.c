/* What a fake virtual machine monitor needs and Node lacks: shared memory, event descriptors, and messages with descriptors. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "values.h"

#define FILES_MAX 16

/* memory(bytes): a memfd. */
static napi_value memory(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int64_t size;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int64(env, args[0], &size) != napi_ok)
		return integer(env, -EINVAL);
	int fd = memfd_create("guest", MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, size) < 0)
		return integer(env, -errno);
	return integer(env, outcome(fd));
}

/* event(blocks): an eventfd. */
static napi_value event(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	bool blocks;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_bool(env, args[0], &blocks) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(eventfd(0, EFD_CLOEXEC | (blocks ? 0 : EFD_NONBLOCK))));
}

/* send(socket, bytes, files): what the socket has no room for is not sent, since who would make room runs in this thread */
static napi_value send_with(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, length, count;
	int socket;
	uint8_t *data;
	void *files;
	napi_typedarray_type type;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FILES_MAX * sizeof(int))];
	} control = {0};
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &socket) != napi_ok || !bytes_of(env, args[1], &data, &length) ||
	    napi_get_typedarray_info(env, args[2], &type, &count, &files, NULL, NULL) != napi_ok ||
	    type != napi_int32_array || count > FILES_MAX)
		return integer(env, -EINVAL);
	struct iovec part = {data, length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (count > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), files, count * sizeof(int));
	}
	return integer(env, outcome(sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT)));
}

NAPI_MODULE_INIT()
{
	napi_value function;
	napi_create_function(env, "memory", NAPI_AUTO_LENGTH, memory, NULL, &function);
	napi_set_named_property(env, exports, "memory", function);
	napi_create_function(env, "event", NAPI_AUTO_LENGTH, event, NULL, &function);
	napi_set_named_property(env, exports, "event", function);
	napi_create_function(env, "send", NAPI_AUTO_LENGTH, send_with, NULL, &function);
	napi_set_named_property(env, exports, "send", function);
	return exports;
}
