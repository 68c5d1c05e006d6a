/*
 * The memory of a virtual machine as its front-end shares it (vhost-user, "SET_MEM_TABLE"): regions of files, each with
 * the address that the guest has for it and the one that the front-end has. Nothing here trusts a number that came
 * from either: an address leads to memory only through guest_run() or user_bytes().
 */
#ifndef TVIX_STORE_GUEST_MEMORY_H
#define TVIX_STORE_GUEST_MEMORY_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a message of the protocol has room for. */
#define REGIONS_MAX 8

struct region {
	uint64_t guest, size, user;
	uint8_t *bytes;
	/* What is mapped, which begins and ends at pages. */
	void *mapping;
	size_t mapped;
};

struct guest_memory {
	size_t count;
	struct region regions[REGIONS_MAX];
};

/* One region as the message has it. */
struct region_message {
	uint64_t guest, size, user, offset;
};

/* Maps all or none; 0 or -errno. The descriptors stay the caller's. -ENOTSUP: not memory that can be relied on. */
int map_guest_memory(struct guest_memory *memory, const struct region_message *regions, const int *files, size_t count);
void unmap_guest_memory(struct guest_memory *memory);

/* The memory at a guest's address, and how much of it lies there in one piece, at most `length`. NULL: nothing does. */
uint8_t *guest_run(const struct guest_memory *memory, uint64_t address, size_t length, size_t *run);
/* Whether the guest has memory at all of `length` bytes, perhaps in several regions. */
bool guest_has(const struct guest_memory *memory, uint64_t address, size_t length);
/* Out of the guest, in one copy that it cannot change any more. False: there is no such memory. */
bool guest_copy(const struct guest_memory *memory, uint64_t address, void *out, size_t length);
/* The memory at an address of the front-end, all of it in one region; NULL otherwise. */
void *user_bytes(const struct guest_memory *memory, uint64_t address, size_t length);

/*
 * Whoever shares memory can also take it away (ftruncate), and touching it then is SIGBUS. Between GUARD_MEMORY and
 * release_memory() that ends at GUARD_MEMORY, which is false the second time. Anything the block changed must then be
 * held for lost. Not reentrant in one thread; install_memory_guard() once before.
 */
int install_memory_guard(void);
sigjmp_buf *guard_memory(const struct guest_memory *memory);
void release_memory(void);
#define GUARD_MEMORY(memory) (sigsetjmp(*guard_memory(memory), 0) == 0)

#endif
