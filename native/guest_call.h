#ifndef TVIX_STORE_GUEST_CALL_H
#define TVIX_STORE_GUEST_CALL_H

#include <poll.h>
#include <sys/eventfd.h>

/*
 * Calls a guest by an eventfd of its monitor's: 0, or -1 with errno. A counter that is full tells it already; it may be one that blocks,
 * by which a monitor could stop this thread and with it all other guests.
 */
static inline int call_guest(int eventfd)
{
	struct pollfd room = {.fd = eventfd, .events = POLLOUT};
	int ready = poll(&room, 1, 0);
	return ready > 0 ? eventfd_write(eventfd, 1) : ready;
}

#endif
