/*
 * See give_way.h. Without KVM a thread of the monitor takes our calls, and wakes up on the processor of whoever made them. Linux lets
 * a thread have its slice (sched(7), some milliseconds) before it looks at one that woke up, unless that one's slice is shorter:
 * the guest, whose answer is there, would wait until what comes next is prepared here. So the slice here is a long one.
 * sched_yield(2) does the same on an idle machine; on a busy one it gives a whole slice away with each call.
 */
#define _GNU_SOURCE
#include "give_way.h"

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel takes up to 100 ms; the usual one is of 0.7 to 3 ms. */
#define SLICE_NS 20000000
/* SCHED_OTHER, which has no other meaning for `runtime`. */
#define ORDINARY 0

/* struct sched_attr of sched_setattr(2), as it was first; some headers of libc lack it, and the kernel's clash with theirs. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

void give_way(void)
{
	struct attributes attributes;
	if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) < 0 || attributes.policy != ORDINARY)
		return;
	attributes.runtime = SLICE_NS;
	/* Linux before 6.12 takes no slice, and some containers nothing at all: it is a matter of speed only. */
	(void)!syscall(SYS_sched_setattr, 0, &attributes, 0);
}
