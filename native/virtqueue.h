/*
 * The device's side of a split virtqueue (virtio 1.2, 2.7), over memory that a hostile guest writes to meanwhile: what
 * decides anything is copied out once and checked as the copy. Addresses are kept as the guest's and looked up again
 * when they are used, since the front-end may replace the memory between a request and its reply.
 */
#ifndef TVIX_STORE_VIRTQUEUE_H
#define TVIX_STORE_VIRTQUEUE_H

#include "guest_memory.h"
#include <sys/uio.h>

#define QUEUE_SIZE_MAX 1024
/* Of one request: a reply of 1 MiB takes 256 pages and two headers. */
#define DESCRIPTORS_MAX 1024

/* Why a queue cannot be served any more, as negative results. In the order of src/mount/virtiofs/queue-faults.ts. */
enum queue_fault {
	FAULT_MEMORY_GONE = 1,
	FAULT_AVAILABLE_INDEX,
	FAULT_HEAD,
	FAULT_HEAD_IN_USE,
	FAULT_NEXT,
	FAULT_LOOP,
	FAULT_EMPTY_BUFFER,
	FAULT_BUFFER_ADDRESS,
	FAULT_BUFFER_ORDER,
	FAULT_TOTAL_LENGTH,
	FAULT_INDIRECT_UNEXPECTED,
	FAULT_INDIRECT_NESTED,
	FAULT_INDIRECT_CHAINED,
	FAULT_INDIRECT_LENGTH,
	FAULT_INDIRECT_ADDRESS,
	FAULT_NO_MEMORY,
};

/* Other results. */
#define QUEUE_EMPTY (-100)
#define REPLY_TOO_LONG (-101)
#define NO_SUCH_REQUEST (-102)

struct segment {
	uint64_t address;
	uint32_t length;
};

/* A request that waits for its reply: where that goes. */
struct chain {
	bool in_use;
	uint32_t count, room;
	struct segment *segments;
};

struct virtqueue {
	bool running, indirect, event_index;
	uint16_t size;
	/* The next entry to take, the next one to give back, and up to where the guest was told. */
	uint16_t next_available, next_used, told;
	bool was_told;
	/* In the front-end's addresses. */
	uint64_t descriptors_at, available_at, used_at;
	void *descriptors;
	void *available;
	void *used;
	struct chain chains[QUEUE_SIZE_MAX];
};

struct queue_settings {
	uint16_t size, base;
	bool indirect, event_index;
	uint64_t descriptors_at, available_at, used_at;
};

/* 0, or -EINVAL for a size or an address that cannot be. */
int start_queue(struct virtqueue *queue, const struct guest_memory *memory, const struct queue_settings *settings);
/* After the memory changed; -EINVAL when the rings are no longer in it. */
int relocate_queue(struct virtqueue *queue, const struct guest_memory *memory);
/* Forgets what waits for a reply; the index to begin with when it is started again. */
uint16_t stop_queue(struct virtqueue *queue);

struct request {
	/* Bytes that the guest sent; those that had room were copied. */
	uint32_t length;
	/* Bytes that the guest has room for. */
	uint32_t room;
};

/* Takes the next request: its number (0 to size - 1), QUEUE_EMPTY, or a negative queue_fault. */
int take_request(struct virtqueue *queue, const struct guest_memory *memory, uint8_t *buffer, size_t capacity,
                 struct request *out);
/* Decides by what was copied into `buffer`, which the guest cannot change any more. */
typedef bool is_wanted(const uint8_t *buffer, const struct request *request, void *context);
/* Likewise, if it is wanted; another one stays where it is: QUEUE_EMPTY. */
int take_wanted(struct virtqueue *queue, const struct guest_memory *memory, uint8_t *buffer, size_t capacity,
                struct request *out, is_wanted *wanted, void *context);
/*
 * Gives a request back with a reply, nothing but which is told to the guest as written. 1: the guest wants to be
 * notified; 0: it does not; REPLY_TOO_LONG, NO_SUCH_REQUEST (nothing was done), or a negative queue_fault.
 */
int give_reply(struct virtqueue *queue, const struct guest_memory *memory, int number, const struct iovec *parts,
               size_t count);
/* Asks to be notified of the next request; true when there is one already. A negative queue_fault at worst. */
int await_requests(struct virtqueue *queue, const struct guest_memory *memory);
/* Whether there is one, without a change to what was asked. A negative queue_fault at worst. */
int has_request(const struct virtqueue *queue, const struct guest_memory *memory);

#endif
