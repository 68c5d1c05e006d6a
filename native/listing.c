/* See listing.h. */
#include "listing.h"

#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>

#include "blake3.h"

/* struct record of page_filler.c, which learns the place when it is pushed. */
struct fill_record {
	uint64_t nodeid;
	uint32_t size, padding;
	uint8_t digest[BLAKE3_BYTES], place[16];
};

/* Contents never change: what the kernel knows of them holds for ever. */
#define FOREVER_SECONDS (1ULL << 40)
#define SIZE_MAX_SAFE 9007199254740991ULL

static void write_entry(struct fuse_entry_out *out, const struct inode_table *table, size_t slot, const double *page)
{
	uint64_t size = table->size[slot] < SIZE_MAX_SAFE ? table->size[slot] : SIZE_MAX_SAFE;
	uint32_t mode = table->kind[slot] == SLOT_DIRECTORY    ? S_IFDIR | 0555
	                : table->kind[slot] == SLOT_SYMLINK    ? S_IFLNK | 0444
	                : table->kind[slot] == SLOT_EXECUTABLE ? S_IFREG | 0555
	                                                       : S_IFREG | 0444;
	*out = (struct fuse_entry_out){
	    .nodeid = (uint64_t)number_of(table, slot),
	    .entry_valid = FOREVER_SECONDS,
	    .attr_valid = FOREVER_SECONDS,
	    .attr = {.ino = table->ino[slot],
	             .size = size,
	             .blocks = (size + 511) / 512,
	             .mtime = 1,
	             .mode = mode,
	             .nlink = 1,
	             .uid = (uint32_t)page[UID],
	             .gid = (uint32_t)page[GID],
	             .blksize = 4096},
	};
}

static void write_direntplus(uint8_t *into, size_t length, const struct inode_table *table, size_t slot,
                             const struct node *node, const double *page)
{
	struct fuse_direntplus *record = (struct fuse_direntplus *)into;
	write_entry(&record->entry_out, table, slot, page);
	record->dirent.ino = table->ino[slot];
	record->dirent.off = (uint64_t)page[POSITION] + 1;
	record->dirent.namelen = node->name_length;
	record->dirent.type = record->entry_out.attr.mode >> 12;
	memcpy(record->dirent.name, node->name, node->name_length);
	memset(record->dirent.name + node->name_length, 0, length - FUSE_NAME_OFFSET_DIRENTPLUS - node->name_length);
}

static void write_fill_record(uint8_t *records, const struct inode_table *table, size_t slot, double *page)
{
	struct fill_record record = {(uint64_t)number_of(table, slot), (uint32_t)table->size[slot], 0, {0}, {0}};
	memcpy(record.digest, table->digests + slot * BLAKE3_BYTES, BLAKE3_BYTES);
	memcpy(records + (size_t)page[RECORDS_USED], &record, sizeof record);
	page[RECORDS_USED] += sizeof record;
	page[RECORDS_CONTENTS] += record.size;
}

bool find_directory(struct open_directory *directory, double inode)
{
	directory->slot = slot_of(&directory->table, inode);
	return directory->slot != 0 && directory->table.kind[directory->slot] == SLOT_DIRECTORY;
}

bool entry_at(const struct open_directory *directory, size_t position, struct node *node)
{
	uint32_t offset = directory->index[position];
	if (offset >= directory->length)
		return false;
	const uint8_t *at = directory->encoded + offset;
	return read_node(&at, directory->encoded + directory->length, node);
}

enum list_status list_page(struct open_directory *directory, uint8_t *into, uint8_t *records, size_t records_room,
                           double *page)
{
	struct inode_table *table = &directory->table;
	struct node node;
	for (; page[POSITION] < directory->count; page[POSITION]++) {
		if (!entry_at(directory, page[POSITION], &node))
			return LIST_WRONG;
		size_t length = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + node.name_length);
		if (page[USED] + length > page[LIMIT] || page[RECORDS_USED] + sizeof(struct fill_record) > records_room)
			return LIST_FULL;
		size_t slot = intern(table, &node, directory->slot, page[POSITION]);
		if (slot == 0)
			return LIST_NO_ROOM;
		table->references[slot]++;
		write_direntplus(into + (size_t)page[USED], length, table, slot, &node, page);
		page[USED] += length;
		if (node.kind == NODE_FILE && node.size > 0 && node.size <= page[RECORD_FILE_MAX])
			write_fill_record(records, table, slot, page);
	}
	return LIST_END;
}
