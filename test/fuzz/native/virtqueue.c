/*
 * Fuzzes the memory and the queues of a guest (native/guest_memory.c, native/virtqueue.c, native/prepared_pages.c), without Node, so that sanitizers
 * see everything. An input is a program: what a hostile guest and its front-end write and ask for, step by step.
 *
 * Standard input: the corpus, each input with its length before it (u32). Arguments: seconds, seed. With 0 seconds the
 * corpus is replayed; else mutated, and what reached new code is written to standard output in the same form. An input
 * that breaks a promise is written to standard error in hex before the process aborts.
 */
#define _GNU_SOURCE
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "guest_memory.h"
#include "prepared_pages.h"
#include "virtqueue.h"

#define INPUT_MAX 1024
#define CORPUS_MAX 20000
#define FILE_BYTES (48 * 1024)
#define GUEST 0x40000000ull
#define USER 0x7f0000000000ull
/* Where regions begin and end in the file; what lies around them must never change. */
#define BEGIN 4100
#define SPLIT (20 * 1024)
#define END (FILE_BYTES - 4100)
#define BUFFER_BYTES 512

static uint8_t input[INPUT_MAX];
static size_t input_length, at;
static int file;
static uint8_t *view; /* of the file, as the guest sees it */
static struct guest_memory memory;
static struct virtqueue queue;
static struct queue_settings settings;
static struct prepared_pages pages;
static bool mapped;
/* The guest's other processors write all the while; they would meet SIGBUS themselves. */
static bool race;

static void broken(const char *promise)
{
	fprintf(stderr, "broken promise: %s\ninput: ", promise);
	for (size_t i = 0; i < input_length; i++)
		fprintf(stderr, "%02x", input[i]);
	fprintf(stderr, "\n");
	abort();
}
#define CHECK(promise) ((promise) ? (void)0 : broken(#promise))

static uint8_t byte(void)
{
	return at < input_length ? input[at++] : 0;
}

static uint16_t two(void)
{
	uint8_t low = byte();
	return (uint16_t)(low | byte() << 8);
}

static uint64_t eight(void)
{
	uint64_t value = 0;
	for (int i = 0; i < 8; i++)
		value |= (uint64_t)byte() << (8 * i);
	return value;
}

/* Mostly near something that matters. */
static uint64_t address(uint64_t base)
{
	switch (byte() % 6) {
	case 0: return base + two();
	case 1: return base + (SPLIT - BEGIN) + (int8_t)byte();
	case 2: return base + (END - BEGIN) + (int8_t)byte();
	case 3: return base + (int8_t)byte();
	case 4: return 0 - (uint64_t)byte();
	default: return eight();
	}
}

static uint32_t length(void)
{
	switch (byte() % 4) {
	case 0: return byte();
	case 1: return two();
	case 2: return 16u * byte();
	default: return 0xffffffffu - byte();
	}
}

/* Never through the checked functions: this is the guest itself. */
static void guest_writes(size_t offset, const void *bytes, size_t count)
{
	if (offset + count <= END - BEGIN)
		memcpy(view + BEGIN + offset, bytes, count);
}

static void write_descriptor(uint64_t table, uint16_t index)
{
	struct {
		uint64_t address;
		uint32_t length;
		uint16_t flags, next;
	} descriptor = {address(GUEST), length(), byte() & 7, byte() & 31};
	guest_writes(table + index * sizeof descriptor, &descriptor, sizeof descriptor);
}

static void map(void)
{
	struct region_message regions[REGIONS_MAX + 1] = {
	    {GUEST, SPLIT - BEGIN, USER, BEGIN},
	    {GUEST + (SPLIT - BEGIN), END - SPLIT, USER + (SPLIT - BEGIN), SPLIT},
	};
	size_t count = 2;
	uint8_t kind = byte();
	if (kind % 4 == 1)
		regions[kind / 4 % 2].size = eight();
	if (kind % 4 == 2)
		*(&regions[kind / 4 % 2].guest + kind / 8 % 4) = eight();
	if (kind % 4 == 3)
		count = kind / 4 % (REGIONS_MAX + 2);
	int files[REGIONS_MAX + 1];
	for (size_t i = 0; i <= REGIONS_MAX; i++)
		files[i] = file;
	struct guest_memory fresh;
	if (map_guest_memory(&fresh, regions, files, count) < 0) {
		CHECK(fresh.count == 0);
		return;
	}
	/* A region that was made up could be what must not change. */
	bool usual = kind % 4 == 0 || (kind % 4 == 3 && count <= 2);
	if (!usual || (queue.running && relocate_queue(&queue, &fresh) < 0)) {
		unmap_guest_memory(&fresh);
		if (queue.running && relocate_queue(&queue, &memory) < 0)
			stop_queue(&queue);
		return;
	}
	unmap_guest_memory(&memory);
	memory = fresh;
	mapped = true;
}

static void start(void)
{
	if (queue.running)
		return;
	settings = (struct queue_settings){.size = (uint16_t)(1 << byte() % 6),
	                                   .base = byte() % 3 == 0 ? two() : 0,
	                                   .indirect = byte() & 1,
	                                   .event_index = byte() & 1,
	                                   .descriptors_at = USER + 12,
	                                   .available_at = USER + 0x800,
	                                   .used_at = USER + 0x1000};
	uint8_t odd = byte();
	if (odd % 8 == 1)
		settings.size = two();
	if (odd % 8 == 2)
		*(&settings.descriptors_at + odd / 8 % 3) = address(USER);
	if (start_queue(&queue, &memory, &settings) < 0)
		CHECK(!queue.running);
}

static void take(void)
{
	uint8_t *buffer = malloc(BUFFER_BYTES);
	struct request request;
	int number = take_request(&queue, &memory, buffer, BUFFER_BYTES, &request);
	CHECK(number < QUEUE_SIZE_MAX && number >= QUEUE_EMPTY);
	if (number >= 0) {
		CHECK(number < queue.size && queue.chains[number].in_use);
		CHECK(queue.chains[number].room == request.room);
		CHECK((queue.chains[number].count == 0) == (request.room == 0));
	} else {
		CHECK(number == QUEUE_EMPTY || (number < 0 && number >= -FAULT_NO_MEMORY));
	}
	free(buffer);
}

static void give(void)
{
	int number = byte() % 40 - 2;
	uint32_t count = byte() % 4, room = 0;
	struct iovec parts[3];
	uint64_t total = 0;
	bool known = queue.running && number >= 0 && number < queue.size && queue.chains[number].in_use;
	if (known)
		room = queue.chains[number].room;
	for (uint32_t i = 0; i < count && i < 3; i++) {
		size_t size = byte() & 1 ? two() : byte();
		parts[i] = (struct iovec){malloc(size ? size : 1), size};
		memset(parts[i].iov_base, 0xa5, size);
		total += size;
	}
	if (count > 3)
		count = 3;
	uint16_t before = queue.next_used;
	int result = give_reply(&queue, &memory, number, parts, count);
	CHECK((result == NO_SUCH_REQUEST) == !known);
	if (known) {
		CHECK((result == REPLY_TOO_LONG) == (total > room));
		CHECK(result < 0 || !queue.chains[number].in_use);
		CHECK(result < 0 || queue.next_used == (uint16_t)(before + 1));
	}
	for (uint32_t i = 0; i < count; i++)
		free(parts[i].iov_base);
}

/* Where a request for a page lies that is well-formed until somebody writes there. */
#define PAGE_REQUEST 0x3000

static void prepare_page(void)
{
	uint8_t bytes[256];
	struct prepared_page page = {byte() % 4, byte() % 4, sizeof bytes, bytes, byte()};
	memset(bytes, 0xa5, sizeof bytes);
	CHECK(keep_page(&pages, byte() % PAGES_MAX, &page) == 0);
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} asked = {{sizeof asked, FUSE_READDIRPLUS, eight(), page.inode, 0, 0, 0, 0, 0}, {0, page.from, page.size, 0, 0, 0, 0}};
	guest_writes(PAGE_REQUEST, &asked, sizeof asked);
	struct {
		uint64_t address;
		uint32_t length;
		uint16_t flags, next;
	} chain[2] = {{GUEST + PAGE_REQUEST, sizeof asked, 1, 1}, {address(GUEST), length(), 2, 0}};
	guest_writes(12, chain, sizeof chain);
}

static void answer_page(void)
{
	uint32_t count = pages.count;
	uint16_t available = queue.next_available, used = queue.next_used;
	int result = answer_with_page(&pages, &queue, &memory, -1);
	CHECK(result < PAGES_MAX && result >= QUEUE_EMPTY);
	CHECK(result < 0 || (pages.count == count - 1 && queue.next_used == (uint16_t)(used + 1)));
	CHECK((result >= 0) == (queue.next_available != available) || result == -FAULT_MEMORY_GONE || result == -FAULT_BUFFER_ADDRESS);
}

static void raw(void)
{
	uint8_t bytes[32];
	size_t offset = byte() & 1 ? two() : two() * 4u, count = byte() % sizeof bytes;
	for (size_t i = 0; i < count; i++)
		bytes[i] = byte();
	guest_writes(offset, bytes, count);
}

static void step(void)
{
	uint16_t index;
	switch (byte() % 11) {
	case 0: write_descriptor(12, byte() & 31); break;
	case 1: write_descriptor(0x2000 + 16 * (byte() & 3), byte() & 31); break;
	case 2: /* offer */
		memcpy(&index, view + BEGIN + 0x802, 2);
		guest_writes(0x804 + 2 * (queue.size ? index % queue.size : 0), (uint8_t[2]){byte() & 63, 0}, 2);
		index++;
		guest_writes(0x802, &index, 2);
		break;
	case 3: take(); break;
	case 4: give(); break;
	case 5: {
		int result = byte() % 2 ? await_requests(&queue, &memory) : has_request(&queue, &memory);
		CHECK(result == 0 || result == 1 || result == -FAULT_MEMORY_GONE);
		break;
	}
	case 6: map(); break;
	case 7: start(); break;
	case 8:
		if (byte() % 4 == 0)
			stop_queue(&queue);
		break;
	case 9: raw(); break;
	default: {
		uint8_t kind = byte();
		if (kind % 8 == 1)
			prepare_page();
		else if (kind % 8 == 2)
			answer_page();
		else if (!race && kind % 32 == 7) { /* the memory goes for a moment */
			CHECK(ftruncate(file, 0) == 0);
			take();
			await_requests(&queue, &memory);
			has_request(&queue, &memory);
			CHECK(ftruncate(file, FILE_BYTES) == 0);
			memset(view, 0x5a, BEGIN);
			memset(view + END, 0x5a, FILE_BYTES - END);
		}
	}
	}
}

static void run(const uint8_t *bytes, size_t count)
{
	memcpy(input, bytes, count);
	input_length = count;
	at = 0;
	memset(view + BEGIN, 0, END - BEGIN);
	if (!mapped) {
		at = input_length; /* zeros: the usual regions */
		map();
		at = 0;
	}
	/* So that most inputs have something to take from. */
	settings = (struct queue_settings){32, 0, true, true, USER + 12, USER + 0x800, USER + 0x1000};
	CHECK(start_queue(&queue, &memory, &settings) == 0);
	while (at < input_length)
		step();
	stop_queue(&queue);
	drop_pages(&pages);
	CHECK(pages.count == 0);
	for (size_t i = 0; i < QUEUE_SIZE_MAX; i++)
		CHECK(!queue.chains[i].in_use && !queue.chains[i].segments);
	for (size_t i = 0; i < BEGIN; i++)
		if (view[i] != 0x5a)
			broken("nothing before the regions changes");
	for (size_t i = END; i < FILE_BYTES; i++)
		if (view[i] != 0x5a)
			broken("nothing behind the regions changes");
}

/* Which ways through the code were taken: by gcc's -fsanitize-coverage=trace-pc. */
static uint8_t seen[1 << 12], now[1 << 12];
static uintptr_t previous;
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
	uintptr_t here = (uintptr_t)__builtin_return_address(0);
	now[(here ^ previous) & 0xfff] = 1;
	previous = here >> 1;
}

static bool is_news(void)
{
	bool news = false;
	for (size_t i = 0; i < sizeof now; i++)
		if (now[i] && !seen[i]) {
			seen[i] = 1;
			news = true;
		}
	memset(now, 0, sizeof now);
	previous = 0;
	return news;
}

static uint64_t state;
static uint32_t chance(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % below;
}

static struct {
	uint8_t bytes[INPUT_MAX];
	size_t length;
} *corpus;
static size_t corpus_count;

static void keep(const uint8_t *bytes, size_t count)
{
	if (corpus_count == CORPUS_MAX)
		return;
	memcpy(corpus[corpus_count].bytes, bytes, count);
	corpus[corpus_count++].length = count;
}

static size_t mutate(uint8_t *out)
{
	size_t count = 0;
	if (corpus_count > 0) {
		size_t from = chance((uint32_t)corpus_count);
		count = corpus[from].length;
		memcpy(out, corpus[from].bytes, count);
	}
	for (uint32_t times = 1 + chance(6); times > 0; times--) {
		size_t place = count ? chance((uint32_t)count) : 0;
		switch (chance(6)) {
		case 0: if (count) out[place] = (uint8_t)chance(256); break;
		case 1: if (count) out[place] ^= (uint8_t)(1u << chance(8)); break;
		case 2: /* more at the end */
			for (uint32_t more = 1 + chance(24); more > 0 && count < INPUT_MAX; more--)
				out[count++] = (uint8_t)(chance(3) ? chance(12) : chance(256));
			break;
		case 3: /* less */
			if (count > 1) {
				size_t less = 1 + chance((uint32_t)(count - place));
				memmove(out + place, out + place + less - 1, count - place - less + 1);
				count -= less - 1;
			}
			break;
		case 4: /* a piece of another */
			if (corpus_count > 0) {
				size_t from = chance((uint32_t)corpus_count);
				size_t piece = corpus[from].length;
				if (piece > INPUT_MAX - count)
					piece = INPUT_MAX - count;
				memcpy(out + count, corpus[from].bytes, piece);
				count += piece;
			}
			break;
		default: if (count) out[place] = (uint8_t)(chance(2) ? 0 : 255); break;
		}
	}
	return count;
}

/* Everything may change between any two looks at it. */
static volatile bool scribbling;
static void *scribble(void *unused)
{
	uint64_t random = 88172645463325252ull;
	(void)unused;
	for (;;) {
		if (!scribbling) {
			usleep(100);
			continue;
		}
		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		size_t offset = random % 0x2400;
		/* The ring of what was given back is ours to write. */
		if (offset < 0x1000 - 8 || offset >= 0x2000)
			__atomic_store_n((uint16_t *)(view + BEGIN + (offset & ~1ull)), (uint16_t)(random >> 40), __ATOMIC_RELAXED);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0;
	state = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	race = argc > 3 && strcmp(argv[3], "race") == 0;
	corpus = calloc(CORPUS_MAX, sizeof *corpus);
	file = memfd_create("guest", MFD_CLOEXEC);
	CHECK(install_memory_guard() == 0 && ftruncate(file, FILE_BYTES) == 0);
	view = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	memset(view, 0x5a, FILE_BYTES);
	uint32_t count;
	uint8_t bytes[INPUT_MAX];
	while (fread(&count, sizeof count, 1, stdin) == 1) {
		CHECK(count <= INPUT_MAX && fread(bytes, 1, count, stdin) == count);
		run(bytes, count);
		if (is_news() || seconds == 0)
			keep(bytes, count);
	}
	fprintf(stderr, "replayed, %zu kept\n", corpus_count);
	size_t known = corpus_count;
	uint64_t executions = 0;
	pthread_t thread;
	if (race)
		CHECK(pthread_create(&thread, NULL, scribble, NULL) == 0);
	for (time_t end = time(NULL) + (time_t)seconds; time(NULL) < end;)
		for (int i = 0; i < 1000; i++, executions++) {
			size_t length = mutate(bytes);
			scribbling = race;
			run(bytes, length);
			scribbling = false;
			/* What happened in a race happens to nobody else. */
			if (!race && is_news())
				keep(bytes, length);
		}
	for (size_t i = race ? corpus_count : 0; i < corpus_count; i++) {
		count = (uint32_t)corpus[i].length;
		fwrite(&count, sizeof count, 1, stdout);
		fwrite(corpus[i].bytes, 1, count, stdout);
	}
	fprintf(stderr, "%llu executions, %zu new inputs\n", (unsigned long long)executions, corpus_count - known);
	/* A thread may still be writing. */
	_exit(fflush(stdout) == 0 ? 0 : 1);
}
