/*
 * What JavaScript cannot do by itself for a virtual machine: sockets that carry descriptors, memory that is shared,
 * and the queues in it. It decides nothing. See src/mount/virtiofs/vhost-addon.ts.
 *
 * Every function answers with its result, or with -errno; a wrong type is -EINVAL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <uv.h>

#include "clock.h"
#include "confine.h"
#include "give_way.h"
#include "guest_memory.h"
#include "prepared_pages.h"
#include "reply_parts.h"
#include "values.h"
#include "vhost_socket.h"
#include "virtqueue.h"

/* The high-priority queue and as many for requests as a large guest has processors. */
#define QUEUES_MAX 65
/* Whoever looks for requests and finds that so much time passed since the last look had to give the processor to somebody else. */
#define AWAY_NS 200000

/* What take() and look() say of a request that had its answer; behind the results of virtqueue.h. */
#define ANSWERED (-103)

struct device {
	struct guest_memory memory;
	struct virtqueue *queues[QUEUES_MAX];
	/* By which the guest is told of what is answered here; -1: nothing is. */
	int calls[QUEUES_MAX];
	struct prepared_pages pages;
};

static struct device *device_of(napi_env env, napi_value value)
{
	void *device;
	return napi_get_value_external(env, value, &device) == napi_ok ? device : NULL;
}

/* NULL when the device has none of that number. */
static struct virtqueue *queue_of(napi_env env, napi_value device_value, napi_value index_value, struct device **device)
{
	uint32_t index;
	*device = device_of(env, device_value);
	if (!*device || napi_get_value_uint32(env, index_value, &index) != napi_ok || index >= QUEUES_MAX)
		return NULL;
	return (*device)->queues[index];
}

static void free_device(napi_env env, void *data, void *hint)
{
	struct device *device = data;
	(void)env, (void)hint;
	for (size_t i = 0; i < QUEUES_MAX; i++)
		if (device->queues[i]) {
			stop_queue(device->queues[i]);
			free(device->queues[i]);
		}
	unmap_guest_memory(&device->memory);
	drop_pages(&device->pages);
	free(device);
}

/* createDevice(): without memory and queues. */
static napi_value create_device(napi_env env, napi_callback_info info)
{
	napi_value external;
	(void)info;
	int failed = install_memory_guard();
	if (failed)
		return integer(env, failed);
	struct device *device = calloc(1, sizeof *device);
	if (!device)
		return integer(env, -ENOMEM);
	for (size_t i = 0; i < QUEUES_MAX; i++)
		device->calls[i] = -1;
	if (napi_create_external(env, device, free_device, NULL, &external) != napi_ok) {
		free(device);
		return integer(env, -ENOMEM);
	}
	return external;
}

static int replace_memory(struct device *device, const struct guest_memory *memory)
{
	for (size_t i = 0; i < QUEUES_MAX; i++)
		if (device->queues[i] && device->queues[i]->running && relocate_queue(device->queues[i], memory) < 0)
			return -EFAULT;
	unmap_guest_memory(&device->memory);
	device->memory = *memory;
	return 0;
}

/*
 * setMemory(device, table, files): four numbers a region (guest's address, size, front-end's address, offset in the
 * file). -EFAULT: the rings of a queue that runs are not in it; the device must not be used any more.
 */
static napi_value set_memory(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, length, count;
	void *table, *files;
	struct guest_memory memory;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (!device || !array_of(env, args[1], napi_biguint64_array, &table, &length) ||
	    !array_of(env, args[2], napi_int32_array, &files, &count) || length != count * 4)
		return integer(env, -EINVAL);
	int failed = map_guest_memory(&memory, table, files, count);
	if (failed)
		return integer(env, failed);
	failed = replace_memory(device, &memory);
	if (failed)
		unmap_guest_memory(&memory);
	return integer(env, failed);
}

/* startQueue(device, index, size, base, indirect, eventIndex, addresses): of descriptors, available and used ring. */
static napi_value begin_queue(napi_env env, napi_callback_info info)
{
	napi_value args[7];
	size_t argc = 7, length;
	uint32_t index, size, base;
	void *at;
	struct queue_settings settings;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (!device || napi_get_value_uint32(env, args[1], &index) != napi_ok || index >= QUEUES_MAX ||
	    napi_get_value_uint32(env, args[2], &size) != napi_ok || size > QUEUE_SIZE_MAX ||
	    napi_get_value_uint32(env, args[3], &base) != napi_ok || base > UINT16_MAX ||
	    napi_get_value_bool(env, args[4], &settings.indirect) != napi_ok ||
	    napi_get_value_bool(env, args[5], &settings.event_index) != napi_ok ||
	    !array_of(env, args[6], napi_biguint64_array, &at, &length) || length != 3)
		return integer(env, -EINVAL);
	settings.size = (uint16_t)size;
	settings.base = (uint16_t)base;
	settings.descriptors_at = ((uint64_t *)at)[0];
	settings.available_at = ((uint64_t *)at)[1];
	settings.used_at = ((uint64_t *)at)[2];
	if (!device->queues[index])
		device->queues[index] = calloc(1, sizeof *device->queues[index]);
	if (!device->queues[index])
		return integer(env, -ENOMEM);
	return integer(env, start_queue(device->queues[index], &device->memory, &settings));
}

/* stopQueue(device, index): where to begin when it is started again. */
static napi_value end_queue(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	struct device *device;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct virtqueue *queue = queue_of(env, args[0], args[1], &device);
	return integer(env, queue ? stop_queue(queue) : -EINVAL);
}

/* keepPage(device, place, inode, from, size, bytes): from now on that is answered here, once. */
static napi_value keep(napi_env env, napi_callback_info info)
{
	napi_value args[6];
	size_t argc = 6, length;
	uint32_t place;
	int64_t inode, from;
	struct prepared_page page;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (!device || napi_get_value_uint32(env, args[1], &place) != napi_ok || place >= PAGES_MAX ||
	    napi_get_value_int64(env, args[2], &inode) != napi_ok || napi_get_value_int64(env, args[3], &from) != napi_ok ||
	    napi_get_value_uint32(env, args[4], &page.size) != napi_ok || !bytes_of(env, args[5], &page.bytes, &length) ||
	    length > page.size)
		return integer(env, -EINVAL);
	page.inode = (uint64_t)inode;
	page.from = (uint64_t)from;
	page.length = (uint32_t)length;
	return integer(env, keep_page(&device->pages, place, &page));
}

/* dropPage(device, place) */
static napi_value drop(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	uint32_t place;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (device && napi_get_value_uint32(env, args[1], &place) == napi_ok && place < PAGES_MAX)
		drop_page(&device->pages, place);
	return NULL;
}

/* answerBy(device, index, call): pages are given to this queue here; not if `call` is -1. */
static napi_value answer_by(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3;
	uint32_t index;
	int call;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (device && napi_get_value_uint32(env, args[1], &index) == napi_ok && index < QUEUES_MAX &&
	    napi_get_value_int32(env, args[2], &call) == napi_ok)
		device->calls[index] = call;
	return NULL;
}

static int answer_from(struct device *device, size_t index)
{
	if (!device->queues[index] || device->calls[index] < 0)
		return QUEUE_EMPTY;
	return answer_with_page(&device->pages, device->queues[index], &device->memory, device->calls[index]);
}

/* take(device, index, buffer, out): out becomes the length of the request, and the room for its reply; or the place of a page. */
static napi_value take(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4, length, count;
	uint32_t index = 0;
	uint8_t *data;
	void *out;
	struct device *device;
	struct request request;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct virtqueue *queue = queue_of(env, args[0], args[1], &device);
	if (!queue || !bytes_of(env, args[2], &data, &length) ||
	    !array_of(env, args[3], napi_uint32_array, &out, &count) || count != 2)
		return integer(env, NO_SUCH_REQUEST);
	napi_get_value_uint32(env, args[1], &index);
	int place = answer_from(device, index);
	if (place >= 0)
		*(uint32_t *)out = (uint32_t)place;
	if (place != QUEUE_EMPTY)
		return integer(env, place < 0 ? place : ANSWERED);
	int number = take_request(queue, &device->memory, data, length, &request);
	if (number >= 0) {
		((uint32_t *)out)[0] = request.length;
		((uint32_t *)out)[1] = request.room;
	}
	return integer(env, number);
}

/* give(device, index, number, head, headLength, pieces) */
static napi_value give(napi_env env, napi_callback_info info)
{
	napi_value args[6];
	size_t argc = 6;
	int number;
	struct device *device;
	struct iovec parts[PARTS_MAX];
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct virtqueue *queue = queue_of(env, args[0], args[1], &device);
	int count = reply_parts_of(env, args + 3, parts);
	if (!queue || napi_get_value_int32(env, args[2], &number) != napi_ok || count < 0)
		return integer(env, NO_SUCH_REQUEST);
	return integer(env, give_reply(queue, &device->memory, number, parts, count));
}

/* awaitRequests(device, index): 1 when there is one already. */
static napi_value await(napi_env env, napi_callback_info info)
{
	napi_value args[2];
	size_t argc = 2;
	struct device *device;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct virtqueue *queue = queue_of(env, args[0], args[1], &device);
	return integer(env, queue ? await_requests(queue, &device->memory) : 0);
}

/* Results of look(), beside ANSWERED. */
enum { FOUND_NOTHING, FOUND };

static int find_request(struct device *device, uint32_t *place)
{
	for (size_t i = 0; i < QUEUES_MAX; i++) {
		if (!device->queues[i] || !has_request(device->queues[i], &device->memory))
			continue;
		int answered = answer_from(device, i);
		if (answered < 0)
			return FOUND;
		*place = (uint32_t)answered;
		return ANSWERED;
	}
	return FOUND_NOTHING;
}

static int look_until(struct device *device, int64_t from, int64_t end, int backend, uint32_t *place)
{
	struct pollfd events = {.fd = backend, .events = POLLIN};
	for (int64_t last = from, now = from; now < end && now - last < AWAY_NS; last = now, now = monotonic_ns()) {
		int found = find_request(device, place);
		if (found != FOUND_NOTHING)
			return found;
		if (poll(&events, 1, 0) != 0)
			return FOUND_NOTHING;
		sched_yield();
	}
	return FOUND_NOTHING;
}

/* look(device, microseconds, out): see src/mount/virtiofs/vhost-addon.ts. A fault is told by whoever takes the request. */
static napi_value look(napi_env env, napi_callback_info info)
{
	napi_value args[3];
	size_t argc = 3, count;
	uint32_t microseconds;
	void *out;
	uv_loop_t *loop;
	int found = FOUND_NOTHING;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (device && napi_get_value_uint32(env, args[1], &microseconds) == napi_ok &&
	    array_of(env, args[2], napi_uint32_array, &out, &count) && count >= 2 &&
	    napi_get_uv_event_loop(env, &loop) == napi_ok) {
		uint32_t *results = out;
		int64_t start = monotonic_ns();
		found = look_until(device, start, start + microseconds * 1000LL, uv_backend_fd(loop), &results[1]);
		results[0] = (uint32_t)((monotonic_ns() - start) / 1000);
	}
	return integer(env, found);
}

/* closeDevice(device): nothing of the guest's memory is mapped after this. The object must not be used afterwards. */
static napi_value close_device(napi_env env, napi_callback_info info)
{
	napi_value args[1];
	size_t argc = 1;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct device *device = device_of(env, args[0]);
	if (device) {
		for (size_t i = 0; i < QUEUES_MAX; i++)
			if (device->queues[i])
				stop_queue(device->queues[i]);
		unmap_guest_memory(&device->memory);
	}
	return NULL;
}

/* giveWay(): see give_way.h. */
static napi_value give_way_to_others(napi_env env, napi_callback_info info)
{
	(void)env, (void)info;
	give_way();
	return NULL;
}

/* confine(): see confine.h. */
static napi_value confine_process(napi_env env, napi_callback_info info)
{
	(void)info;
	return integer(env, confine());
}

NAPI_MODULE_INIT()
{
	static const struct exported functions[] = {
	    {"listen", listen_on},
	    {"accept", accept_on},
	    {"receive", receive_part},
	    {"send", send_bytes},
	    {"notify", notify},
	    {"createDevice", create_device},
	    {"setMemory", set_memory},
	    {"startQueue", begin_queue},
	    {"stopQueue", end_queue},
	    {"keepPage", keep},
	    {"dropPage", drop},
	    {"answerBy", answer_by},
	    {"take", take},
	    {"give", give},
	    {"awaitRequests", await},
	    {"look", look},
	    {"closeDevice", close_device},
	    {"confine", confine_process},
	    {"giveWay", give_way_to_others},
	};
	export_functions(env, exports, functions, sizeof functions / sizeof *functions);
	return exports;
}
