/* See prepared_pages.h. */
#include "prepared_pages.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

struct page_request {
	struct fuse_in_header header;
	struct fuse_read_in read;
};

void drop_page(struct prepared_pages *pages, uint32_t place)
{
	if (!pages->places[place].bytes)
		return;
	free(pages->places[place].bytes);
	pages->places[place].bytes = NULL;
	pages->count--;
}

void drop_pages(struct prepared_pages *pages)
{
	for (uint32_t place = 0; place < PAGES_MAX; place++)
		drop_page(pages, place);
}

int keep_page(struct prepared_pages *pages, uint32_t place, const struct prepared_page *page)
{
	drop_page(pages, place);
	/* One byte more, since nothing may be asked for of malloc: an empty page is the end of a listing. */
	uint8_t *bytes = malloc(page->length + 1);
	if (!bytes)
		return -ENOMEM;
	if (page->length > 0)
		memcpy(bytes, page->bytes, page->length);
	pages->places[place] = *page;
	pages->places[place].bytes = bytes;
	pages->count++;
	return 0;
}

struct search {
	const struct prepared_pages *pages;
	uint32_t found;
};

static bool is_prepared(const uint8_t *buffer, const struct request *request, void *context)
{
	struct search *search = context;
	struct page_request asked;
	if (request->length != sizeof asked)
		return false;
	memcpy(&asked, buffer, sizeof asked);
	if (asked.header.len != sizeof asked || asked.header.opcode != FUSE_READDIRPLUS)
		return false;
	for (search->found = 0; search->found < PAGES_MAX; search->found++) {
		const struct prepared_page *page = &search->pages->places[search->found];
		if (page->bytes && page->inode == asked.header.nodeid && page->from == asked.read.offset &&
		    page->size == asked.read.size)
			return request->room >= sizeof(struct fuse_out_header) + page->length;
	}
	return false;
}

int answer_with_page(struct prepared_pages *pages, struct virtqueue *queue, const struct guest_memory *memory, int call)
{
	struct page_request asked;
	struct request request;
	struct search search = {.pages = pages};
	if (pages->count == 0)
		return QUEUE_EMPTY;
	int number = take_wanted(queue, memory, (uint8_t *)&asked, sizeof asked, &request, is_prepared, &search);
	if (number < 0)
		return number;
	struct prepared_page *page = &pages->places[search.found];
	struct fuse_out_header header = {.len = sizeof header + page->length, .unique = asked.header.unique};
	struct iovec parts[2] = {{&header, sizeof header}, {page->bytes, page->length}};
	int given = give_reply(queue, memory, number, parts, 2);
	if (given > 0)
		eventfd_write(call, 1);
	drop_page(pages, search.found);
	return given < 0 ? given : (int)search.found;
}
