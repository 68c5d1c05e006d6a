/* See virtqueue.h. */
#define _GNU_SOURCE
#include "virtqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* virtio 1.2, 2.7.5: struct virtq_desc. */
struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};
#define HAS_NEXT 1
#define IS_WRITABLE 2
#define IS_INDIRECT 4

/* 2.7.6 and 2.7.8: the two rings; an entry for events stands behind each. */
struct available_ring {
	uint16_t flags, index, entries[];
};
#define NO_INTERRUPT 1
struct used_ring {
	uint16_t flags, index;
	struct {
		uint32_t id, length;
	} entries[];
};

static uint16_t load(const uint16_t *place)
{
	return __atomic_load_n(place, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *place, uint16_t value)
{
	__atomic_store_n(place, value, __ATOMIC_RELEASE);
}

static void *aligned(const struct guest_memory *memory, uint64_t address, size_t length, size_t alignment)
{
	void *bytes = user_bytes(memory, address, length);
	return (uintptr_t)bytes % alignment == 0 ? bytes : NULL;
}

int relocate_queue(struct virtqueue *queue, const struct guest_memory *memory)
{
	size_t size = queue->size;
	queue->descriptors = aligned(memory, queue->descriptors_at, size * sizeof(struct descriptor), 16);
	queue->available =
	    aligned(memory, queue->available_at, sizeof(struct available_ring) + (size + 1) * sizeof(uint16_t), 2);
	queue->used = aligned(memory, queue->used_at, sizeof(struct used_ring) + size * 8 + sizeof(uint16_t), 4);
	return queue->descriptors && queue->available && queue->used ? 0 : -EINVAL;
}

int start_queue(struct virtqueue *queue, const struct guest_memory *memory, const struct queue_settings *settings)
{
	uint16_t size = settings->size;
	if (size == 0 || size > QUEUE_SIZE_MAX || (size & (size - 1)) != 0)
		return -EINVAL;
	queue->size = size;
	queue->descriptors_at = settings->descriptors_at;
	queue->available_at = settings->available_at;
	queue->used_at = settings->used_at;
	if (relocate_queue(queue, memory) < 0)
		return -EINVAL;
	if (!GUARD_MEMORY(memory))
		return -EFAULT;
	queue->next_used = load(&((struct used_ring *)queue->used)->index);
	release_memory();
	queue->next_available = settings->base;
	queue->indirect = settings->indirect;
	queue->event_index = settings->event_index;
	queue->was_told = false;
	queue->running = true;
	return 0;
}

static void forget(struct chain *chain)
{
	free(chain->segments);
	*chain = (struct chain){0};
}

uint16_t stop_queue(struct virtqueue *queue)
{
	queue->running = false;
	for (size_t i = 0; i < QUEUE_SIZE_MAX; i++)
		if (queue->chains[i].in_use)
			forget(&queue->chains[i]);
	return queue->next_available;
}

/* The way through the descriptors of one request. */
struct walk {
	const struct guest_memory *memory;
	/* NULL in an indirect table, which lies at `table_at`. */
	const struct descriptor *descriptors;
	uint64_t table_at;
	uint32_t limit, steps;
	uint8_t *buffer;
	size_t capacity;
	struct segment segments[DESCRIPTORS_MAX];
	uint32_t count;
	uint64_t length, room;
};

static bool fetch(const struct walk *walk, uint32_t index, struct descriptor *out)
{
	if (!walk->descriptors)
		return guest_copy(walk->memory, walk->table_at + index * sizeof *out, out, sizeof *out);
	memcpy(out, &walk->descriptors[index], sizeof *out);
	__asm__ volatile("" ::: "memory");
	return true;
}

static int enter_table(struct walk *walk, const struct descriptor *descriptor, bool allowed)
{
	if (!allowed)
		return -FAULT_INDIRECT_UNEXPECTED;
	if (!walk->descriptors)
		return -FAULT_INDIRECT_NESTED;
	if (descriptor->flags & HAS_NEXT)
		return -FAULT_INDIRECT_CHAINED;
	if (descriptor->length == 0 || descriptor->length % sizeof(struct descriptor) != 0 ||
	    descriptor->length / sizeof(struct descriptor) > DESCRIPTORS_MAX)
		return -FAULT_INDIRECT_LENGTH;
	if (!guest_has(walk->memory, descriptor->address, descriptor->length))
		return -FAULT_INDIRECT_ADDRESS;
	walk->descriptors = NULL;
	walk->table_at = descriptor->address;
	walk->limit = descriptor->length / sizeof(struct descriptor);
	walk->steps = 0;
	return 0;
}

static int add_buffer(struct walk *walk, const struct descriptor *descriptor)
{
	if (descriptor->length == 0)
		return -FAULT_EMPTY_BUFFER;
	if (!guest_has(walk->memory, descriptor->address, descriptor->length))
		return -FAULT_BUFFER_ADDRESS;
	if (descriptor->flags & IS_WRITABLE) {
		/* A chain of direct ones that ends in an indirect table may be longer than either. */
		if (walk->count == DESCRIPTORS_MAX)
			return -FAULT_LOOP;
		walk->segments[walk->count++] = (struct segment){descriptor->address, descriptor->length};
		walk->room += descriptor->length;
		return walk->room > UINT32_MAX ? -FAULT_TOTAL_LENGTH : 0;
	}
	if (walk->count > 0)
		return -FAULT_BUFFER_ORDER;
	size_t free_bytes = walk->length < walk->capacity ? walk->capacity - (size_t)walk->length : 0;
	size_t taken = descriptor->length < free_bytes ? descriptor->length : free_bytes;
	if (!guest_copy(walk->memory, descriptor->address, walk->buffer + walk->length, taken))
		return -FAULT_BUFFER_ADDRESS;
	walk->length += descriptor->length;
	return walk->length > UINT32_MAX ? -FAULT_TOTAL_LENGTH : 0;
}

static int follow(struct walk *walk, uint32_t index, bool indirect)
{
	for (;;) {
		struct descriptor descriptor;
		if (!fetch(walk, index, &descriptor))
			return -FAULT_INDIRECT_ADDRESS;
		if (descriptor.flags & IS_INDIRECT) {
			int failed = enter_table(walk, &descriptor, indirect);
			if (failed)
				return failed;
			index = 0;
			continue;
		}
		int failed = add_buffer(walk, &descriptor);
		if (failed)
			return failed;
		if (!(descriptor.flags & HAS_NEXT))
			return 0;
		if (descriptor.next >= walk->limit)
			return -FAULT_NEXT;
		/* As many steps as there are descriptors have seen one twice. */
		if (++walk->steps >= walk->limit)
			return -FAULT_LOOP;
		index = descriptor.next;
	}
}

static int remember(struct chain *chain, const struct walk *walk)
{
	struct segment *segments = NULL;
	size_t bytes = walk->count * sizeof *segments;
	if (walk->count > 0) {
		segments = malloc(bytes);
		if (!segments)
			return -FAULT_NO_MEMORY;
		memcpy(segments, walk->segments, bytes);
	}
	*chain = (struct chain){true, walk->count, (uint32_t)walk->room, segments};
	return 0;
}

/* Too large for a stack; only the thread that serves touches it. */
static _Thread_local struct walk walk;

static int take(struct virtqueue *queue, const struct guest_memory *memory, uint8_t *buffer, size_t capacity,
                struct request *out, is_wanted *wanted, void *context)
{
	const struct available_ring *available = queue->available;
	uint16_t waiting = load(&available->index) - queue->next_available;
	if (waiting == 0)
		return QUEUE_EMPTY;
	if (waiting > queue->size)
		return -FAULT_AVAILABLE_INDEX;
	uint16_t head = load(&available->entries[queue->next_available % queue->size]);
	if (head >= queue->size)
		return -FAULT_HEAD;
	if (queue->chains[head].in_use)
		return -FAULT_HEAD_IN_USE;
	walk.memory = memory;
	walk.descriptors = queue->descriptors;
	walk.limit = queue->size;
	walk.buffer = buffer;
	walk.capacity = capacity;
	walk.steps = walk.count = 0;
	walk.length = walk.room = 0;
	int failed = follow(&walk, head, queue->indirect);
	if (failed)
		return failed;
	*out = (struct request){(uint32_t)walk.length, (uint32_t)walk.room};
	if (wanted && !wanted(buffer, out, context))
		return QUEUE_EMPTY;
	failed = remember(&queue->chains[head], &walk);
	if (failed)
		return failed;
	queue->next_available++;
	return head;
}

int take_wanted(struct virtqueue *queue, const struct guest_memory *memory, uint8_t *buffer, size_t capacity,
                struct request *out, is_wanted *wanted, void *context)
{
	if (!queue->running)
		return QUEUE_EMPTY;
	if (!GUARD_MEMORY(memory))
		return -FAULT_MEMORY_GONE;
	int result = take(queue, memory, buffer, capacity, out, wanted, context);
	release_memory();
	return result;
}

int take_request(struct virtqueue *queue, const struct guest_memory *memory, uint8_t *buffer, size_t capacity,
                 struct request *out)
{
	return take_wanted(queue, memory, buffer, capacity, out, NULL, NULL);
}

/* Goes on behind what was written to a chain. */
struct place {
	uint32_t segment, offset;
};

static bool write_part(const struct chain *chain, const struct guest_memory *memory, struct place *at,
                       const struct iovec *part)
{
	const uint8_t *from = part->iov_base;
	for (size_t left = part->iov_len, run; left > 0; left -= run, from += run) {
		/* The caller made sure that there is room. */
		const struct segment *segment = &chain->segments[at->segment];
		size_t free_bytes = segment->length - at->offset;
		uint8_t *to = guest_run(memory, segment->address + at->offset, left < free_bytes ? left : free_bytes, &run);
		if (!to)
			return false;
		memcpy(to, from, run);
		at->offset += run;
		if (at->offset == segment->length)
			*at = (struct place){at->segment + 1, 0};
	}
	return true;
}

/* 2.7.7.2 and 2.7.10: whether the guest wants to hear of what was given back since it was told last. */
static bool wants_notice(struct virtqueue *queue)
{
	struct available_ring *available = queue->available;
	/* What was given back must be seen before the guest's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!queue->event_index)
		return !(load(&available->flags) & NO_INTERRUPT);
	uint16_t wanted = load(&available->entries[queue->size]);
	uint16_t since = queue->next_used - queue->told;
	bool wants = !queue->was_told || (uint16_t)(queue->next_used - wanted - 1) < since;
	if (wants) {
		queue->told = queue->next_used;
		queue->was_told = true;
	}
	return wants;
}

static uint64_t total(const struct iovec *parts, size_t count)
{
	uint64_t length = 0;
	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	return length;
}

static int give(struct virtqueue *queue, const struct guest_memory *memory, uint16_t head, const struct iovec *parts,
                size_t count)
{
	struct place at = {0, 0};
	struct used_ring *used = queue->used;
	for (size_t i = 0; i < count; i++)
		if (!write_part(&queue->chains[head], memory, &at, &parts[i]))
			return -FAULT_BUFFER_ADDRESS;
	uint16_t entry = queue->next_used % queue->size;
	used->entries[entry].id = head;
	used->entries[entry].length = (uint32_t)total(parts, count);
	store(&used->index, ++queue->next_used);
	return wants_notice(queue);
}

int give_reply(struct virtqueue *queue, const struct guest_memory *memory, int number, const struct iovec *parts,
               size_t count)
{
	if (!queue->running || number < 0 || number >= queue->size || !queue->chains[number].in_use)
		return NO_SUCH_REQUEST;
	struct chain *chain = &queue->chains[number];
	if (total(parts, count) > chain->room)
		return REPLY_TOO_LONG;
	if (!GUARD_MEMORY(memory))
		return -FAULT_MEMORY_GONE;
	int result = give(queue, memory, (uint16_t)number, parts, count);
	release_memory();
	if (result >= 0)
		forget(chain);
	return result;
}

static int await(struct virtqueue *queue)
{
	struct available_ring *available = queue->available;
	struct used_ring *used = queue->used;
	/* 2.7.9: the event entry stands behind the used ring, and asks for the next one. */
	if (queue->event_index)
		store((uint16_t *)&used->entries[queue->size], queue->next_available);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load(&available->index) != queue->next_available;
}

int await_requests(struct virtqueue *queue, const struct guest_memory *memory)
{
	if (!queue->running)
		return 0;
	if (!GUARD_MEMORY(memory))
		return -FAULT_MEMORY_GONE;
	int result = await(queue);
	release_memory();
	return result;
}

int has_request(const struct virtqueue *queue, const struct guest_memory *memory)
{
	if (!queue->running)
		return 0;
	if (!GUARD_MEMORY(memory))
		return -FAULT_MEMORY_GONE;
	int result = load(&((struct available_ring *)queue->available)->index) != queue->next_available;
	release_memory();
	return result;
}
