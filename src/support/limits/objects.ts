/** Object stores, buckets and tables. */
import { KiB, MiB } from './units.ts'

// — Object stores —

/** Files that one file object store reads from at the same time; more wait for their turn. */
export const OBJECT_FILES_MAX = 64
/** Objects that one file object store is storing at the same time: the more, the fewer syncs. Each has a file open. */
export const OBJECT_PUTS_MAX = 256
/** Objects that are stored in one trip to the thread pool: some 20 ms of one of its threads … */
export const OBJECT_BATCH_MAX = 512
/** … and their bytes. */
export const OBJECT_BATCH_BYTES_MAX = 4 * MiB
/** Batches on their way at the same time: the next is written while one waits for the disk. */
export const OBJECT_BATCHES_MAX = 3
/** Batches that are full of bytes: more of them share each wait for the disk. What is in them, large blobs bound. */
export const OBJECT_LARGE_BATCHES_MAX = 9
/** Small blobs of one import that are on their way at the same time, where they are stored in batches. */
export const SMALL_BLOB_WRITES_MAX = (OBJECT_BATCHES_MAX + 1) * OBJECT_BATCH_MAX
/** A pack beyond this takes no more objects: large enough to have few files, small enough to be copied and rewritten. */
export const PACK_BYTES_MAX = 1024 * MiB
/** Memory in which objects are laid out that go into a pack together: a batch, and what its frames are longer. */
export const PACK_ROOM_BYTES = 6 * MiB
/** Records that are this large together … */
export const PACK_BULK_BYTES_MIN = 1 * MiB
/** … and on average are chunks of large blobs, which go to the disk without staying in memory. */
export const PACK_BULK_BYTES_EACH = 64 * KiB
/** Packs that one store has open to read from. */
export const PACK_FILES_MAX = 64
/** Bytes of an object's key in a pack; LMDB takes 1,978. */
export const PACK_KEY_BYTES_MAX = 1_000
/** Entries of the index of packs that are listed in one go: half a millisecond. */
export const OBJECT_LIST_PAGE = 500
/** LMDB tells no full disk from a broken one; with less than this left it is full. */
export const INDEX_FREE_BYTES_MIN = 4 * MiB
/** Files and folders that are synced one by one at the same time: four threads are what Node has for it. */
export const FSYNCS_MAX = 4
/** So many that wait to be synced are synced together: one syncfs takes about as long as two or three of them. */
export const SYNC_TOGETHER_MIN = 8
/**
 * With more than this in the memory of the machine that no disk has, a few files are synced one by one: syncfs would wait
 * for all of it, which is a second of an SSD …
 */
export const SYNC_TOGETHER_UNWRITTEN_BYTES_MIN = 512 * MiB
/** … and many files with more than this for each: one that is synced by itself waits for its turn at the same disk. */
export const SYNC_TOGETHER_UNWRITTEN_BYTES_EACH = 8 * MiB
/** Files up to this size are read without the thread pool, while that is quick (see read-pace.ts). */
export const READ_ON_SPOT_BYTES_MAX = 64 * KiB
/** Longer than any such read takes that finds what it wants in memory. */
export const READ_ON_SPOT_MS_MAX = 0.25
/** After one that took longer, the thread pool is used for this many times as long at first … */
export const READ_ON_SPOT_REST_MIN = 10
/** … and for this many at most. */
export const READ_ON_SPOT_REST_MAX = 640
/** Files are read on the spot for this long before the event loop gets to sockets and timers again. */
export const READ_ON_SPOT_TURN_MS_MAX = 2
/** A temp file this old belongs to a process that died: a put writes its file in one go, in seconds at worst. */
export const TEMP_FILE_STALE_MS = 10 * 60_000
/** Requests that one bucket gets at the same time; more wait for their turn. The Rust implementation sends as many. */
export const BUCKET_REQUESTS_MAX = 64
/** A bucket's server may be silent for this long before a request is given up. */
export const BUCKET_SILENCE_MS_MAX = 30_000
/** What is sent must get through at least this fast: uploads tell of no progress, so their deadline counts it. */
export const BUCKET_UPLOAD_BYTES_PER_SECOND_MIN = 64 * KiB
/** Pauses before a request that failed is made again; jitter takes up to half of each … */
export const BUCKET_RETRY_MS: readonly number[] = [100, 400, 1_000, 2_500]
/**
 * … and those that follow where the server said that it is asked too much (S3 does for minutes, while it grows): the load sinks with
 * those who wait. Together within a call of a mount.
 */
export const BUCKET_OVERLOAD_RETRY_MS: readonly number[] = [5_000, 10_000, 15_000, 15_000]
/** A server that asks for a longer pause than this is told of as unavailable. */
export const BUCKET_RETRY_AFTER_MS_MAX = 10_000
/** Objects up to this size are sent in one request, larger ones in parts of half of it (S3 wants 5 MiB at least). */
export const BUCKET_PUT_BYTES_MAX = 16 * MiB
/** Parts of one object that are sent at the same time. */
export const BUCKET_PARTS_AT_ONCE = 4
/** To say that an upload in parts was given up, which whoever gave it up waits for. */
export const BUCKET_ABANDON_MS_MAX = 5_000
/** The whole of an object, held in memory: chunk lists and chunks are far smaller, closures are read in parts. */
export const BUCKET_OBJECT_BYTES_MAX = 1024 * MiB
/** What S3 says of a read that it refuses: a few lines of XML. */
export const BUCKET_REFUSAL_BYTES_MAX = 64 * KiB
/** What Google's storage says about objects: a page of a listing has 1,000 names. */
export const GCS_ANSWER_BYTES_MAX = 8 * MiB
/** Objects of one page of a WebDAV listing: a folder, which with our layout has few hundred entries. */
export const WEBDAV_LISTING_BYTES_MAX = 64 * MiB

// — Bigtable —

/** The Rust implementation neither writes nor reads a larger cell (spec §3.5). */
export const BIGTABLE_CELL_BYTES_MAX = 10 * MiB
/** Directories of one upload that are written to a table at the same time. */
export const BIGTABLE_WRITES_MAX = 64
