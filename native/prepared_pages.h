/*
 * Pages of listings that a guest will probably ask for, which are its answers as they are: see src/mount/fuse/listings-ahead.ts. A guest
 * waits for each page, and JavaScript takes longer to find it than to be ready with the next one.
 */
#ifndef TVIX_STORE_PREPARED_PAGES_H
#define TVIX_STORE_PREPARED_PAGES_H

#include "virtqueue.h"

/* As LISTINGS_AHEAD_MAX of src/support/limits.ts. */
#define PAGES_MAX 8

struct prepared_page {
	/* What a request for it says. */
	uint64_t inode, from;
	uint32_t size;
	/* The entries; NULL: there is no page. */
	uint8_t *bytes;
	uint32_t length;
};

struct prepared_pages {
	uint32_t count;
	struct prepared_page places[PAGES_MAX];
};

/* Takes a copy of `bytes`; 0 or -errno. */
int keep_page(struct prepared_pages *pages, uint32_t place, const struct prepared_page *page);
void drop_page(struct prepared_pages *pages, uint32_t place);
void drop_pages(struct prepared_pages *pages);

/*
 * Answers the next request of a queue if that is for a page, which is gone then, and calls the guest by the eventfd `call`. The place
 * of the page; QUEUE_EMPTY: nothing was done; or a negative queue_fault.
 */
int answer_with_page(struct prepared_pages *pages, struct virtqueue *queue, const struct guest_memory *memory, int call);

#endif
