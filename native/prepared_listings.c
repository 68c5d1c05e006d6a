/*
 * See prepared_listings.h. Whoever walks through a tree waits for every listing, and JavaScript that was run a few hundred
 * times is not compiled yet: what it knows will be asked for is copied here, and answered as soon as it is. All on its thread.
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

struct prepared {
	/* 0: there is none. */
	double inode;
	uint64_t last_used;
	uint8_t *encoded;
	uint32_t *index;
	size_t length, count;
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
};

static void empty(struct prepared *place)
{
	free(place->encoded);
	free(place->index);
	*place = (struct prepared){0};
}

static void free_listings(napi_env env, void *data, void *hint)
{
	struct prepared_listings *listings = data;
	(void)hint;
	for (struct prepared *place = listings->places; place < listings->places + PREPARED_MAX; place++)
		empty(place);
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
	napi_typedarray_type type;
	void *answer;
	struct prepared_listings *listings = calloc(1, sizeof *listings);
	if (!listings)
		return integer(env, -ENOMEM);
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	if (!bytes_of(env, args[0], &listings->reply, &listings->reply_room) ||
	    !bytes_of(env, args[1], &listings->records, &listings->records_room) ||
	    napi_get_typedarray_info(env, args[2], &type, &fields, &answer, NULL, NULL) != napi_ok ||
	    type != napi_float64_array || fields != ANSWER_FIELDS || (uintptr_t)listings->reply % 8 != 0) {
		free(listings);
		return integer(env, -EINVAL);
	}
	listings->answer = answer;
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

/* prepareListing(listings, inode, encoded, index): a directory that was verified is about to be listed. 0, or -errno. */
napi_value prepare_listing(napi_env env, napi_callback_info info)
{
	napi_value args[4];
	size_t argc = 4, length, count;
	napi_typedarray_type type;
	double inode;
	uint8_t *encoded;
	void *index;
	napi_get_cb_info(env, info, &argc, args, NULL, NULL);
	struct prepared_listings *listings = listings_of(env, args[0]);
	if (!listings || napi_get_value_double(env, args[1], &inode) != napi_ok || !(inode > 0) ||
	    !bytes_of(env, args[2], &encoded, &length) ||
	    napi_get_typedarray_info(env, args[3], &type, &count, &index, NULL, NULL) != napi_ok || type != napi_uint32_array)
		return integer(env, -EINVAL);
	if (find(listings, inode))
		return integer(env, 0);
	struct prepared *place = oldest(listings);
	empty(place);
	/* One byte more, since nothing may be asked for of malloc. */
	*place = (struct prepared){.encoded = malloc(length + 1), .index = malloc(count * sizeof(uint32_t) + 1)};
	if (!place->encoded || !place->index) {
		empty(place);
		return integer(env, -ENOMEM);
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
	return integer(env, 0);
}

/* As much as fits: where the table of inodes or the reply has no room for all, the kernel asks for the rest. False: for nothing. */
static bool list(struct prepared_listings *listings, struct open_directory *directory, uint64_t from, size_t limit)
{
	double *answer = listings->answer;
	answer[POSITION] = answer[FROM] = (double)from;
	answer[USED] = answer[RECORDS_USED] = answer[RECORDS_CONTENTS] = 0;
	answer[LIMIT] = limit < listings->reply_room ? limit : listings->reply_room;
	enum list_status status =
	    list_page(directory, listings->reply, listings->records, listings->records_room, answer);
	return status == LIST_END || (status != LIST_WRONG && answer[USED] > 0);
}

bool answer_listing(napi_env env, struct prepared_listings *listings, napi_value tables, int device, const uint8_t *request,
                    size_t length)
{
	struct {
		struct fuse_in_header header;
		struct fuse_read_in read;
	} asked;
	struct open_directory directory;
	if (length != sizeof asked)
		return false;
	memcpy(&asked, request, sizeof asked);
	if (asked.header.len != length || asked.header.opcode != FUSE_READDIRPLUS || asked.read.offset > UINT32_MAX)
		return false;
	const struct prepared *place = find(listings, (double)asked.header.nodeid);
	if (!place || !inode_table_of(env, tables, &directory.table) || !find_directory(&directory, place->inode))
		return false;
	directory.encoded = place->encoded;
	directory.index = place->index;
	directory.length = place->length;
	directory.count = place->count;
	if (!list(listings, &directory, asked.read.offset, asked.read.size))
		return false;
	size_t used = listings->answer[USED];
	struct fuse_out_header header = {.len = sizeof header + used, .unique = asked.header.unique};
	struct iovec parts[2] = {{&header, sizeof header}, {listings->reply, used}};
	listings->answer[IS_TAKEN] = writev(device, parts, 2) >= 0;
	listings->answer[INODE] = place->inode;
	listings->answer[ENCODED_BYTES] = place->length;
	return true;
}
