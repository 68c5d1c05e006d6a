/* See guest_memory.h. */
#define _GNU_SOURCE
#include "guest_memory.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#define TMPFS_MAGIC 0x01021994
#define HUGETLBFS_MAGIC 0x958458f6

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Sums are only made of what was checked here. */
static bool is_sane(const struct region_message *regions, size_t at)
{
	const struct region_message *region = &regions[at];
	uint64_t end;
	if (region->size == 0 || __builtin_add_overflow(region->guest, region->size, &end) ||
	    __builtin_add_overflow(region->user, region->size, &end) ||
	    __builtin_add_overflow(region->offset, region->size, &end) || end > INT64_MAX)
		return false;
	for (size_t i = 0; i < at; i++)
		if (overlap(regions[i].guest, regions[i].size, region->guest, region->size) ||
		    overlap(regions[i].user, regions[i].size, region->user, region->size))
			return false;
	return true;
}

static int map_region(struct region *region, const struct region_message *message, int file)
{
	struct stat status;
	struct statfs system;
	if (fstat(file, &status) < 0 || fstatfs(file, &system) < 0)
		return -errno;
	/* Elsewhere (a network, FUSE) touching a page can wait for somebody for ever. */
	if (!S_ISREG(status.st_mode) || (system.f_type != TMPFS_MAGIC && system.f_type != HUGETLBFS_MAGIC))
		return -ENOTSUP;
	if (message->offset + message->size > (uint64_t)status.st_size)
		return -EINVAL;
	/* A power of two: of hugetlbfs, whole huge pages can be mapped only. */
	uint64_t page = (uint64_t)status.st_blksize;
	uint64_t start = message->offset & ~(page - 1);
	uint64_t end = (message->offset + message->size + page - 1) & ~(page - 1);
	void *mapping = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, (off_t)start);
	if (mapping == MAP_FAILED)
		return -errno;
	madvise(mapping, end - start, MADV_DONTDUMP);
	*region = (struct region){
	    .guest = message->guest,
	    .size = message->size,
	    .user = message->user,
	    .bytes = (uint8_t *)mapping + (message->offset - start),
	    .mapping = mapping,
	    .mapped = end - start,
	};
	return 0;
}

int map_guest_memory(struct guest_memory *memory, const struct region_message *regions, const int *files, size_t count)
{
	int failed = 0;
	memory->count = 0;
	if (count == 0 || count > REGIONS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < count && !failed; i++) {
		failed = is_sane(regions, i) ? map_region(&memory->regions[i], &regions[i], files[i]) : -EINVAL;
		if (!failed)
			memory->count++;
	}
	if (failed)
		unmap_guest_memory(memory);
	return failed;
}

void unmap_guest_memory(struct guest_memory *memory)
{
	for (size_t i = 0; i < memory->count; i++)
		munmap(memory->regions[i].mapping, memory->regions[i].mapped);
	memory->count = 0;
}

uint8_t *guest_run(const struct guest_memory *memory, uint64_t address, size_t length, size_t *run)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct region *region = &memory->regions[i];
		if (address < region->guest || address - region->guest >= region->size)
			continue;
		uint64_t offset = address - region->guest;
		*run = region->size - offset < length ? (size_t)(region->size - offset) : length;
		return region->bytes + offset;
	}
	return NULL;
}

bool guest_has(const struct guest_memory *memory, uint64_t address, size_t length)
{
	for (size_t run; length > 0; length -= run, address += run)
		if (!guest_run(memory, address, length, &run))
			return false;
	return true;
}

bool guest_copy(const struct guest_memory *memory, uint64_t address, void *out, size_t length)
{
	uint8_t *to = out;
	for (size_t run; length > 0; length -= run, address += run, to += run) {
		const uint8_t *from = guest_run(memory, address, length, &run);
		if (!from)
			return false;
		memcpy(to, from, run);
	}
	/* What is looked at from here on is the copy; the compiler must not read the original again. */
	__asm__ volatile("" ::: "memory");
	return true;
}

void *user_bytes(const struct guest_memory *memory, uint64_t address, size_t length)
{
	for (size_t i = 0; i < memory->count; i++) {
		const struct region *region = &memory->regions[i];
		if (address < region->user || address - region->user > region->size)
			continue;
		uint64_t offset = address - region->user;
		return region->size - offset >= length ? region->bytes + offset : NULL;
	}
	return NULL;
}

static _Thread_local const struct guest_memory *guarded;
static _Thread_local sigjmp_buf way_out;

static bool lies_in(const struct guest_memory *memory, const void *address)
{
	for (size_t i = 0; i < memory->count; i++)
		if ((const uint8_t *)address >= (const uint8_t *)memory->regions[i].mapping &&
		    (const uint8_t *)address < (const uint8_t *)memory->regions[i].mapping + memory->regions[i].mapped)
			return true;
	return false;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	(void)context;
	const struct guest_memory *memory = guarded;
	if (memory && lies_in(memory, info->si_addr)) {
		guarded = NULL;
		siglongjmp(way_out, 1);
	}
	/* Not ours: it happens again, and ends the process as it would have. */
	signal(number, SIG_DFL);
}

int install_memory_guard(void)
{
	/* Without its mask nothing has to be restored when it is left by a jump. */
	struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

sigjmp_buf *guard_memory(const struct guest_memory *memory)
{
	guarded = memory;
	return &way_out;
}

void release_memory(void)
{
	guarded = NULL;
}
