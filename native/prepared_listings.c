/*
 * See prepared_listings.h. Whoever walks through a tree waits for every listing, and JavaScript that was run a few hundred
 * times is not compiled yet: what it knows will be asked for is copied here, put together, and answered as soon as it is. All on its thread.
 */
#include "prepared_listings.h"

#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "listing.h"
#include "values.h"

/* The directory that is being listed and the next one, for two who walk at the same time. */
#define PREPARED_MAX 4
/* What a C library asks for, until one asked for something else. */
#define LIMIT_FIRST 32768

/* A listing from its beginning, before anybody asked for it; its entries have their references. */
struct first_page {
	bool is_there;
	uint8_t *bytes, *records;
	double fields[PAGE_FIELDS];
};

struct prepared {
	/* 0: there is none. */
	double inode;
	uint64_t last_used;
	uint8_t *encoded;
	uint32_t *index;
	size_t length, count;
	struct first_page first;
};

/* What JavaScript is told of an answer, behind the page; as ANSWER of src/mount/fuse/prepared-listings.ts. */
enum answer_field { INODE = PAGE_FIELDS, FROM, IS_TAKEN, ENCODED_BYTES, ANSWER_FIELDS };

struct prepared_listings {
	struct prepared places[PREPARED_MAX];
	uint64_t clock;
	/* Memory of JavaScript, held by `keep`. */
	napi_ref keep[3];
	uint8_t *reply, *records;
	size_t reply_room, records_room;
	double *answer;
	/* Bytes of a page that were asked for last. */
	size_t limit;
};

/* The memory of its page is for the next one. */
static void empty(struct prepared *place)
{
	free(place->encoded);
	free(place->index);
	*place = (struct prepared){.first = {.bytes = place->first.bytes, .records = place->first.records}};
}

static void free_listings(napi_env env, void *data, void *hint)
{
	struct prepared_listings *listings = data;
	(void)hint;
	for (struct prepared *place = listings->places; place < listings->places + PREPARED_MAX; place++) {
		empty(place);
		free(place->first.bytes);
		free(place->first.records);
	}
	for (size_t i = 0; i < sizeof listings->keep / sizeof *listings->keep; i++)
		if (listings->keep[i])
			napi_delete_reference(env, listings->keep[i]);
	free(listings);
}

/* createListings(reply, records, answer): an object for the others, or -errno. */
napi_value create_listings(napi_env env, napi_callback_info info)
{
	napi_value args[3], external;
	size_t argc = 3, fields;
	void *answer;
	struct prepared_listings *listings = calloc(1, sizeof *listings);
	if (!listings)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &listings->reply, &listings->reply_room) ||
	    !bytes_of(env, args[1], &listings->records, &listings->records_room) ||
	    !array_of(env, args[2], napi_float64_array, &answer, &fields) || fields != ANSWER_FIELDS || (uintptr_t)listings->reply % 8 != 0) {
		free(listings);
		return integer(env, -EINVAL);
	}
	listings->answer = answer;
	listings->limit = LIMIT_FIRST;
	for (int i = 0; i < 3; i++)
		if (napi_create_reference(env, args[i], 1, &listings->keep[i]) != napi_ok)
			listings->keep[i] = NULL;
	if (napi_create_external(env, listings, free_listings, NULL, &external) == napi_ok)
		return external;
	free_listings(env, listings, NULL);
	return integer(env, -ENOMEM);
}

struct prepared_listings *listings_of(napi_env env, napi_value value)
{
	void *listings;
	return napi_get_value_external(env, value, &listings) == napi_ok ? listings : NULL;
}

static struct prepared *find(struct prepared_listings *listings, double inode)
{
	for (struct prepared *place = listings->places; place < listings->places + PREPARED_MAX; place++)
		if (place->inode == inode) {
			place->last_used = ++listings->clock;
			return place;
		}
	return NULL;
}

static struct prepared *oldest(struct prepared_listings *listings)
{
	struct prepared *oldest = listings->places;
	for (struct prepared *place = listings->places; place < listings->places + PREPARED_MAX; place++)
		if (place->last_used < oldest->last_used)
			oldest = place;
	return oldest;
}

/* As much as fits: where the table of inodes or the memory has no room for all, the kernel asks for the rest. False: for nothing. */
static bool list(struct open_directory *directory, const struct prepared *place, double page[PAGE_FIELDS],
                 uint8_t *bytes, uint8_t *records, size_t records_room)
{
	directory->encoded = place->encoded;
	directory->index = place->index;
	directory->length = place->length;
	directory->count = place->count;
	page[USED] = page[RECORDS_USED] = page[RECORDS_CONTENTS] = 0;
	enum list_status status = list_page(directory, bytes, records, records_room, page);
	return status == LIST_END || (status != LIST_WRONG && page[USED] > 0);
}

/* What takes the most of an answer are the inodes: made now, nobody waits for them. What fails is done when it is asked for. */
static void make_first_page(struct prepared_listings *listings, struct prepared *place, struct open_directory *directory)
{
	struct first_page *first = &place->first;
	if (!first->bytes)
		first->bytes = malloc(listings->reply_room);
	if (!first->records)
		first->records = malloc(listings->records_room);
	if (!first->bytes || !first->records || !find_directory(directory, place->inode))
		return;
	memcpy(first->fields, listings->answer, sizeof first->fields);
	first->fields[POSITION] = 0;
	first->fields[LIMIT] = listings->limit;
	first->is_there = list(directory, place, first->fields, first->bytes, first->records, listings->records_room) &&
	                  first->fields[USED] > 0;
}

/* The length of a page that nobody asked for, which lies in `reply` then. */
static size_t give_back(struct prepared_listings *listings, struct prepared *place)
{
	if (!place->first.is_there)
		return 0;
	size_t used = place->first.fields[USED];
	memcpy(listings->reply, place->first.bytes, used);
	return used;
}

/*
 * prepareListing(listings, inode, encoded, index, tables): a directory that was verified is about to be listed, from its beginning if
 * `tables` are given. 0, or -errno, or so many bytes of entries in `reply` whose references nobody took.
 */
napi_value prepare_listing(napi_env env, napi_callback_info info)
{
	napi_value args[5];
	size_t argc = 5, length, count;
	napi_valuetype tables;
	double inode;
	uint8_t *encoded;
	void *index;
	struct open_directory directory;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct prepared_listings *listings = listings_of(env, args[0]);
	if (!listings || napi_get_value_double(env, args[1], &inode) != napi_ok || !(inode > 0) ||
	    !bytes_of(env, args[2], &encoded, &length) ||
	    !array_of(env, args[3], napi_uint32_array, &index, &count) || napi_typeof(env, args[4], &tables) != napi_ok)
		return integer(env, -EINVAL);
	if (find(listings, inode))
		return integer(env, 0);
	struct prepared *place = oldest(listings);
	size_t unwanted = give_back(listings, place);
	empty(place);
	/* One byte more, since nothing may be asked for of malloc. */
	place->encoded = malloc(length + 1);
	place->index = malloc(count * sizeof(uint32_t) + 1);
	if (!place->encoded || !place->index) {
		empty(place);
		return integer(env, unwanted > 0 ? (int64_t)unwanted : -ENOMEM);
	}
	/* An empty one has no memory to copy from. */
	if (length > 0)
		memcpy(place->encoded, encoded, length);
	if (count > 0)
		memcpy(place->index, index, count * sizeof(uint32_t));
	place->inode = inode;
	place->last_used = ++listings->clock;
	place->length = length;
	place->count = count;
	if (tables == napi_object && inode_table_of(env, args[4], &directory.table))
		make_first_page(listings, place, &directory);
	return integer(env, unwanted);
}

/* False when only JavaScript can. */
static bool find_page(napi_env env, struct prepared_listings *listings, napi_value tables, struct prepared *place,
                      uint64_t from, size_t limit, const uint8_t **bytes)
{
	struct first_page *first = &place->first;
	struct open_directory directory;
	double *answer = listings->answer;
	listings->limit = limit;
	*bytes = listings->reply;
	if (from == 0 && first->is_there && first->fields[USED] <= limit) {
		memcpy(answer, first->fields, sizeof first->fields);
		memcpy(listings->records, first->records, (size_t)answer[RECORDS_USED]);
		*bytes = first->bytes;
		first->is_there = false;
		return true;
	}
	answer[POSITION] = (double)from;
	answer[LIMIT] = limit;
	return inode_table_of(env, tables, &directory.table) && find_directory(&directory, place->inode) &&
	       list(&directory, place, answer, listings->reply, listings->records, listings->records_room);
}

bool answer_listing(napi_env env, struct prepared_listings *listings, napi_value tables, int device, const uint8_t *request,
                    size_t length)
{
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} asked;
	const uint8_t *bytes;
	if (length != sizeof asked)
		return false;
	memcpy(&asked, request, sizeof asked);
	if (asked.header.len != length || asked.header.opcode != FUSE_READDIRPLUS || asked.read.offset > UINT32_MAX)
		return false;
	struct prepared *place = find(listings, (double)asked.header.nodeid);
	size_t limit = asked.read.size < listings->reply_room ? asked.read.size : listings->reply_room;
	if (!place || !find_page(env, listings, tables, place, asked.read.offset, limit, &bytes))
		return false;
	double *answer = listings->answer;
	size_t used = answer[USED];
	struct fuse_out_header header = {.len = sizeof header + used, .unique = asked.header.unique};
	struct iovec parts[2] = {{&header, sizeof header}, {(void *)bytes, used}};
	answer[IS_TAKEN] = writev(device, parts, 2) >= 0;
	if (!answer[IS_TAKEN] && bytes != listings->reply)
		memcpy(listings->reply, bytes, used);
	answer[FROM] = (double)asked.read.offset;
	answer[INODE] = place->inode;
	answer[ENCODED_BYTES] = place->length;
	return true;
}
