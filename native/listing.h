/* The entries of a directory as READDIRPLUS has them, with an inode for each. */
#ifndef TVIX_STORE_LISTING_H
#define TVIX_STORE_LISTING_H

#include "inode_table.h"

/* A directory as it was verified, and what it is as an inode. */
struct open_directory {
	struct inode_table table;
	const uint8_t *encoded;
	const uint32_t *index;
	size_t length, count, slot;
};

/* As PAGE of src/mount/tree/native-tree.ts: where listing begins and ends, and what it left. */
enum page_field { POSITION, USED, LIMIT, RECORDS_USED, RECORDS_CONTENTS, RECORD_FILE_MAX, UID, GID, PAGE_FIELDS };
enum list_status { LIST_END, LIST_FULL, LIST_NO_ROOM, LIST_WRONG };

/* False when the inode is no directory that is alive. The table is there already. */
bool find_directory(struct open_directory *directory, double inode);

/* False for an index that is not the directory's. */
bool entry_at(const struct open_directory *directory, size_t position, struct node *node);

/*
 * Writes the entries from page[POSITION] on behind page[USED] of `into`, each with a reference, and a fill record for each
 * small file. `into` is aligned to 8 bytes and has room for page[LIMIT].
 */
enum list_status list_page(struct open_directory *directory, uint8_t *into, uint8_t *records, size_t records_room,
                           double *page);

#endif
