/*
 * What JavaScript cannot do by itself with the FUSE device: watch it, read and write it without exceptions, mount
 * and unmount, take a descriptor out of a socket, and send a datagram. It decides nothing. See
 * src/mount/fuse/native-device.ts.
 *
 * Every function that makes a system call answers with its result, or with -errno. Node-API calls are unchecked
 * where they can only fail when the TypeScript side passes a wrong type: the result is then -EINVAL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "chunk_reader.h"
#include "clock.h"
#include "descriptor_watch.h"
#include "device_reads.h"
#include "memory_reads.h"
#include "page_filler.h"
#include "prepared_listings.h"
#include "reply_parts.h"
#include "values.h"

/* linux/fuse.h of 6.9; older headers lack them. */
#define FUSE_DEV_IOC_BACKING_OPEN 0x4010e501
#define FUSE_DEV_IOC_BACKING_CLOSE 0x4004e502

/*
 * receive(fd, buffer, microseconds, listings, tables): bytes of the next request. Looks for one for so long, if that is given, and
 * lets others have the processor in between. 0: it was for one of `listings`, if there are any, and has its answer.
 */
static napi_value receive(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5, length;
	int fd;
	uint32_t patience = 0;
	uint8_t *data;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok || !bytes_of(env, args[1], &data, &length) ||
	    (argc > 2 && napi_get_value_uint32(env, args[2], &patience) != napi_ok))
		return integer(env, -EINVAL);
	int64_t result = outcome(read(fd, data, length));
	if (result == -EAGAIN && patience > 0)
		for (int64_t end = monotonic_ns() + patience * 1000LL; result == -EAGAIN && monotonic_ns() < end;) {
			sched_yield();
			result = outcome(read(fd, data, length));
		}
	struct prepared_listings *listings = argc > 4 && result > 0 ? listings_of(env, args[3]) : NULL;
	if (listings && answer_listing(env, listings, args[4], fd, data, result))
		result = 0;
	return integer(env, result);
}

/* send(fd, head, headLength, pieces): writes the first bytes of head and all pieces with one writev(2). */
static napi_value send_reply(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4;
	int fd;
	struct iovec parts[PARTS_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	int count = reply_parts_of(env, args + 1, parts);
	if (napi_get_value_int32(env, args[0], &fd) != napi_ok || count < 0)
		return integer(env, -EINVAL);
	return integer(env, outcome(writev(fd, parts, count)));
}

/* mount(source, target, flags, options) */
static napi_value mount_fuse(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4;
	uint32_t flags;
	char source[STRING_MAX], target[STRING_MAX], options[STRING_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], source) || !string_of(env, args[1], target) ||
	    napi_get_value_uint32(env, args[2], &flags) != napi_ok || !string_of(env, args[3], options))
		return integer(env, -EINVAL);
	return integer(env, outcome(mount(source, target, "fuse", flags, options)));
}

/* unmount(target, flags) */
static napi_value unmount(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	uint32_t flags;
	char target[STRING_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], target) || napi_get_value_uint32(env, args[1], &flags) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(umount2(target, (int)flags)));
}

/* socketPair(ends): fills the two elements of an Int32Array with the ends of a stream. */
static napi_value socket_pair(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1, length;
	void *ends;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!array_of(env, args[0], napi_int32_array, &ends, &length) || length != 2)
		return integer(env, -EINVAL);
	return integer(env, outcome(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)));
}

/* Takes one descriptor out of a socket without waiting; it is close-on-exec and non-blocking. */
static int take_descriptor(int socket)
{
	char byte;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	int fd;
	if (recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
		return -errno;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

/* receiveDescriptor(socket): a descriptor that was passed over it. */
static napi_value receive_descriptor(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	int socket;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &socket) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, take_descriptor(socket));
}

/* backingOpen(device, file): the id under which the kernel reads the file itself; the file may be closed then. */
static napi_value backing_open(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	int device;
	struct {
		int32_t fd;
		uint32_t flags;
		uint64_t padding;
	} map = {0};
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &device) != napi_ok || napi_get_value_int32(env, args[1], &map.fd) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(ioctl(device, FUSE_DEV_IOC_BACKING_OPEN, &map)));
}

/* backingClose(device, id): when no file that was opened with it is open any more. */
static napi_value backing_close(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	int device;
	uint32_t id;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (napi_get_value_int32(env, args[0], &device) != napi_ok || napi_get_value_uint32(env, args[1], &id) != napi_ok)
		return integer(env, -EINVAL);
	return integer(env, outcome(ioctl(device, FUSE_DEV_IOC_BACKING_CLOSE, &id)));
}

/* sendDatagram(path, message): to a unix socket; a path that begins with @ is in the abstract namespace. */
static napi_value send_datagram(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	char path[STRING_MAX], message[STRING_MAX];
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!string_of(env, args[0], path) || !string_of(env, args[1], message))
		return integer(env, -EINVAL);
	size_t length = strlen(path);
	if (length >= sizeof address.sun_path)
		return integer(env, -ENAMETOOLONG);
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return integer(env, -errno);
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	int64_t sent = outcome(sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address, size));
	close(fd);
	return integer(env, sent);
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"receive", receive},
	    {"createListings", create_listings},
	    {"prepareListing", prepare_listing},
	    {"send", send_reply},
	    {"mount", mount_fuse},
	    {"unmount", unmount},
	    {"socketPair", socket_pair},
	    {"receiveDescriptor", receive_descriptor},
	    {"backingOpen", backing_open},
	    {"backingClose", backing_close},
	    {"sendDatagram", send_datagram},
	    {"watch", watch_descriptor},
	    {"unwatch", unwatch},
	    {"startFiller", start_filler},
	    {"mayFill", may_fill},
	    {"isFilling", is_filling},
	    {"fill", fill},
	    {"fillerCounts", filler_counts},
	    {"stopFiller", stop_filler},
	    {"startReader", start_reader},
	    {"readChunks", read_chunks},
	    {"startMemoryReader", start_memory_reader},
	    {"readInto", read_into},
	    {"keepAhead", keep_ahead},
	    {"readerBytes", reader_bytes},
	    {"stopReader", stop_reader},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
