#define _GNU_SOURCE
#include "vhost_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest_memory.h"
#include "values.h"

/* listen(path): a stream socket, with the permissions that the umask leaves. */
napi_value listen_on(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	char path[STRING_MAX];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], path))
		return integer(env, -EINVAL);
	if (strlen(path) >= sizeof address.sun_path)
		return integer(env, -ENAMETOOLONG);
	strcpy(address.sun_path, path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return integer(env, -errno);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1) < 0) {
		int error = errno;
		close(fd);
		return integer(env, -error);
	}
	return integer(env, fd);
}

/* accept(listener) */
napi_value accept_on(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int fd;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)));
}

/* Adds the descriptors of a message to files[1…], which files[0] counts; -EMSGSIZE, with all closed, for too many. */
static int64_t take_files(struct msghdr *message, int *files, size_t room)
{
	int64_t result = message->msg_flags & MSG_CTRUNC ? -EMSGSIZE : 0;
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
			if (result == 0 && (size_t)files[0] + 1 < room) {
				files[++files[0]] = fd;
			} else {
				close(fd);
				result = -EMSGSIZE;
			}
		}
	}
	return result;
}

/*
 * receive(socket, buffer, from, to, files): fills buffer[from…to) as far as there is something; 0 is the end. Descriptors
 * that came along are added to `files`, whose first element counts them.
 */
napi_value receive_part(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5, length, room;
	int fd;
	uint32_t from, to;
	uint8_t *data;
	void *files;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok || !bytes_of(env, args[1], &data, &length) ||
	    napi_get_value_uint32(env, args[2], &from) != napi_ok || napi_get_value_uint32(env, args[3], &to) != napi_ok ||
	    from > to || to > length || !array_of(env, args[4], napi_int32_array, &files, &room) || room < 1 ||
	    *(int *)files < 0 || (size_t)*(int *)files >= room)
		return integer(env, -EINVAL);
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(REGIONS_MAX * sizeof(int))];
	} control;
	struct iovec part = {data + from, to - from};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (received < 0)
		return integer(env, -errno);
	int64_t failed = take_files(&message, files, room);
	return integer(env, failed ? failed : received);
}

/* send(socket, bytes): replies are short, so a peer who takes none has stopped reading: -EAGAIN. */
napi_value send_bytes(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2, length;
	int fd;
	uint8_t *data;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok || !bytes_of(env, args[1], &data, &length))
		return integer(env, -EINVAL);
	return integer(env, outcome(send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL)));
}

/* notify(eventfd): tells the front-end; a counter that is full tells it already. */
napi_value notify(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int fd;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(eventfd_write(fd, 1)));
}
