/**
 * Every numeric limit of the product, with its unit in its name and its reason beside it. What is compared with
 * the outside world (a format, a kernel) says where the number comes from.
 */

const KiB = 1024
const MiB = 1024 * KiB

// — Formats —

/** NAME_MAX of Linux (linux/limits.h); spec §1.8. */
export const NAME_BYTES_MAX = 255
/** PATH_MAX of Linux less the NUL (linux/limits.h); spec §1.8. */
export const SYMLINK_TARGET_BYTES_MAX = 4095
/** One encoded Directory; above 4 MiB only peers that raised their gRPC limit can receive it. */
export const DIRECTORY_BYTES_MAX = 16 * MiB
/** Offsets are JavaScript numbers: 2^53 − 1. */
export const BLOB_BYTES_MAX = Number.MAX_SAFE_INTEGER
/** Nesting of a tree that is walked, rendered or parsed. Walks keep their own stack; this bounds it. */
export const TREE_DEPTH_MAX = 256
/** Nix refuses deeper NARs (libutil archive.cc). */
export const NAR_DEPTH_MAX = 64
/** Entries of one directory in a NAR. */
export const NAR_DIRECTORY_ENTRIES_MAX = 1_000_000
/** Names, targets and nodes of the directories that are open while a NAR is read; a million small entries fit. */
export const NAR_OPEN_ENTRIES_BYTES_MAX = 256 * MiB
/** Of a directory that ended, and of which a large blob is on its way to the disk; with more, the NAR is not read on. */
export const NAR_PENDING_ENTRIES_BYTES_MAX = 1 * MiB
/** What an entry of an open directory takes besides its name and target. */
export const NAR_OPEN_ENTRY_BYTES = 256
/** The NAR writer gathers framing, names and small contents in buffers of this size. */
export const NAR_FRAMING_BUFFER_BYTES = 64 * KiB
/** Contents up to this size are copied among the framing: one piece of 64 KiB costs less than many small ones. */
export const NAR_INLINE_CONTENTS_BYTES_MAX = 4 * KiB
/** A NAR listing document: about 100 bytes for each entry of a large tree. */
export const NAR_LISTING_BYTES_MAX = 64 * MiB
/** Entries of a listing that is made: a directory that is met in many places counts in each. */
export const NAR_LISTING_ENTRIES_MAX = 1_000_000
/** Encoded bytes of the directories that a NAR opened for random access holds. */
export const NAR_READER_BYTES_MAX = 512 * MiB
/** What a tar says of one entry before its header: long names, attributes, the map of a sparse file. Attributes have 64 KiB each. */
export const TAR_EXTENSION_BYTES_MAX = 1 * MiB
/** Regions of a sparse file in a tar, 16 bytes each: what lies between the holes of a file of 4 GiB of which every second page is one. */
export const TAR_SPARSE_REGIONS_MAX = 1_000_000
/** Names, targets and nodes of a tar, in which entries come in any order and replace others: about two million. */
export const TAR_ENTRIES_BYTES_MAX = 512 * MiB
/** What an entry takes besides its name and target. */
export const TAR_ENTRY_BYTES = 256
/** A narinfo document, as large as upstream takes it (spec §7.4); Nix documents are a few KiB. */
export const NARINFO_BYTES_MAX = 2 * MiB

// — Chunking (spec §3.3) —

/** Average of content-defined chunks; min is half of it, max is twice it. */
export const CHUNK_BYTES_AVG = 256 * KiB
/** Other averages that a store may be told to use: what the Rust implementation takes. */
export const CHUNK_BYTES_AVG_MIN = 512
export const CHUNK_BYTES_AVG_MAX = 4 * MiB
/** What one decompressed chunk may be at most: other writers may use a larger average than ours. */
export const CHUNK_BYTES_MAX = 64 * MiB
/** Chunks of one blob that are compressed and stored at the same time. */
export const CHUNK_UPLOADS_MAX = 8

/** Chunks that a blob is gathered for before they are cut, in the largest possible size: about 1 ms of a thread. */
export const BLOB_PORTION_CHUNKS = 4
/** Portions that a writer of a blob fills, cuts and stores at the same time: what comes while a disk syncs. */
export const BLOB_PORTIONS_MAX = 20
/** Portions of all blobs of the process. When that many are in use writers get smaller ones, and few of them. */
export const BLOB_PORTIONS_OF_ALL_MAX = 32
/** Such a smaller portion counts so many. */
export const BLOB_PORTION_SMALL_UNITS = 3

/** Small blobs of one batch that are read at the same time, where a service does not take them all at once. */
export const BLOB_READS_MAX = 32
/** Chunks of one blob, or portions of LOCAL_CHUNKS_BYTES, that are fetched and decompressed ahead of its reader. */
export const CHUNK_READS_MAX = 4
/** … of all blobs of a store that are being read; beyond that it is one chunk for each reader. */
export const CHUNK_READS_OF_ALL_MAX = 32
/** What is sent to its reader, waits behind that, and is kept back until it is known not to be the last: of one stream. */
export const CHUNK_READS_TAKEN = 3
/** Of a chunk that is read for one of a crowd this lies apart: as much as is worth a message of its own. */
export const CHUNK_END_BYTES = 64 * KiB
/** Memory for the chunks of a crowd: each has a tenth more than it needs, and none is garbage … */
export const CHUNK_ROOM_BYTES: readonly number[] = [192, 256, 320, 384, 448, 512].map((size) => size * KiB)
/** … and of each size so many wait for the next chunk. */
export const CHUNK_ROOMS_MAX = 16
/** Chunks of one blob on the local disk are read this much at a time: about 1 ms of a thread. */
export const LOCAL_CHUNKS_BYTES = 1 * MiB
/** … and on the spot up to this size: below it a trip to a thread takes longer. The addon takes as much. */
export const LOCAL_CHUNK_NOW_BYTES_MAX = 64 * KiB
/** Up to here zstd on the spot (at most 70 µs) is several times cheaper than a trip to the thread pool. */
export const ZSTD_INLINE_BYTES_MAX = 16 * KiB
/** The same for decompression, which is that much faster: 0.15 ms at most, and a trip to the pool costs as much CPU. */
export const ZSTD_DECOMPRESS_INLINE_BYTES_MAX = 128 * KiB
/** The same for frames that are no smaller than what they hold, and so hold it as it is: 0.1 ms. */
export const ZSTD_COPY_INLINE_BYTES_MAX = 1 * MiB

// — Decompression —

/** Bytes that come out for one that goes in, where nobody declared a size; what is not a bomb rarely reaches 100. */
export const DECOMPRESSION_RATIO_MAX = 1_000
/** The first bytes of output are not held against the ratio: a tree of empty files compresses well, too. */
export const DECOMPRESSION_UNRATED_BYTES = 1 * MiB
/** Window of a zstd frame as a power of two: 128 MiB, what every decoder takes unless told otherwise. */
export const ZSTD_WINDOW_LOG_MAX = 27
/** Memory of an xz decoder: `xz -9` needs 65 MiB. */
export const XZ_MEMORY_BYTES_MAX = 128 * MiB
/** What a decompressing program may say on its standard error. */
export const DECOMPRESSOR_MESSAGE_BYTES_MAX = 4 * KiB

// — Memory —

/** What every command keeps below, whatever is large (test/interop/memory.test.ts). */
export const PROCESS_BYTES_MAX = 512 * MiB
/** Dead buffers are collected when this much was made: well below the 64 MiB at which V8 collects everything. */
export const BUFFER_GARBAGE_BYTES_MAX = 32 * MiB
/** So much is made before V8 is told to judge buffers like objects: what fewer weigh, nobody collects for. */
export const BUFFERS_JUDGED_BYTES_MIN = 1 * MiB
/** The same for buffers that were kept for a while: collecting those takes tens of milliseconds, and so is asked for more rarely. */
export const OLD_BUFFER_GARBAGE_BYTES_MAX = 64 * MiB
/** Memory that is used again and again is given up when nobody wanted it at the end of this. */
export const ROOMS_IDLE_MS = 1_000

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

// — Ingestion (spec §6.2, Appendix B) —

/** Blobs up to this size are held in memory and uploaded concurrently; larger ones are streamed. */
export const SMALL_BLOB_BYTES_MAX = 1 * MiB
/** Bytes of blobs in memory at once, over all imports of the process. */
export const SMALL_BLOB_BUDGET_BYTES = 128 * MiB
/** Blobs up to this size are sent without asking whether they exist: the question costs about as much as the answer. */
export const UPLOAD_UNASKED_BYTES_MAX = 4 * KiB
/** What a blob that is streamed counts in that budget: its chunks that are being stored, and what is read ahead. */
export const STREAMED_BLOB_BYTES = 8 * MiB
/** Files of one import that are open at the same time: until they are stored, and a store syncs many as fast as one. */
export const INGEST_FILES_MAX = 128
/** Files of a NAR up to here share buffers with others … */
export const NAR_SHARED_FILE_BYTES_MAX = 16 * KiB
/** … of this size, which stay in memory until the last of them is stored. */
export const NAR_SHARED_BYTES = 64 * KiB
/** What is hashed of a NAR in one trip to the thread pool, at least: 0.1 ms … */
export const NAR_HASH_BYTES = 256 * KiB
/** … and how many such trips the hash may be behind the parser. */
export const NAR_HASH_BEHIND_MAX = 4
/** One step of parsing a NAR that is ingested: about 0.1 ms of the event loop. */
export const NAR_PIECE_BYTES_MAX = 256 * KiB
/** A NAR is parsed and hashed for this long before the event loop gets to sockets and timers again. */
export const NAR_TURN_MS_MAX = 4
/** Blobs of one NAR that are uploaded at the same time. */
export const NAR_UPLOADS_MAX = 64
/** Large blobs of one NAR of which one is read and the others are on their way to the disk. */
export const NAR_LARGE_UPLOADS_MAX = 8
/** Files whose contents are fetched ahead of their turn while a part of a NAR is rendered; each is a small blob. */
export const NAR_PREFETCH_FILES_MAX = 32
/** A NAR is rendered in batches of so many entries … */
export const NAR_BATCH_STEPS_MAX = 512
/** … and bytes of contents, but for the last file of a batch: what is gained by larger ones is lost to the caches … */
export const NAR_BATCH_BYTES_MAX = 1 * MiB
/** … of which so many are on their way: the four threads of the pool go on while those that are done wait for an earlier one. */
export const NAR_BATCHES_MAX = 6
/** Large files of one NAR that are begun before their turn; of each some MiB are then in memory (CHUNK_READS_MAX). */
export const NAR_LARGE_AHEAD_MAX = 2
/** Memory for a batch, which has one such file and what stands around the contents beside them. */
export const NAR_ROOM_BYTES = 3 * MiB
/** … of which so many wait for the next batch, of all NARs: one of them has 1.2 MB of memory as a rule, for the rest is not touched. */
export const NAR_ROOMS_MAX = 12
/** A NAR is hashed while its tree is walked. In one trip to the thread pool: so much that it reads itself, some 20 ms … */
export const NAR_HASH_BYTES_MAX = 32 * MiB
/** … and so much that is in memory until then, and not stored sooner. */
export const NAR_GIVEN_BYTES_MAX = 4 * MiB
/** Entries that the walk is ahead of the hash at most, of 85 bytes or so. */
export const NAR_HASH_AHEAD_MAX = 65_536
/** Steps that were done and stay in the queue, before it is cut: to move what is behind them costs a little. */
export const NAR_STEPS_DONE_MAX = 1_024
/** Entries of a tree that are looked at in one trip to the thread pool, and again while the last ones are stored: a millisecond. */
export const WALK_ENTRIES = 256
/** Their names and the targets of symlinks; two paths at least. */
export const WALK_NAMES_BYTES = 64 * KiB
/** Names in one directory, in bytes: with more of them it would not fit its encoding. */
export const DIRECTORY_NAMES_BYTES_MAX = DIRECTORY_BYTES_MAX
/** Blobs of which a service is asked at once whether it has them, where it has no way to ask for many. */
export const HAS_AT_ONCE_MAX = 64
/** A file that changed this shortly before it was read may change again without a trace in its times. */
export const IMPORT_CACHE_RACY_MS = 1_000
/** Files of one tree that are remembered, 80 bytes each. */
export const IMPORT_CACHE_FILES_MAX = 1_000_000
/** What is remembered of all trees together; those that were imported last are kept. */
export const IMPORT_CACHE_BYTES_MAX = 256 * MiB
/** Paths of one `import` command that are worked on at the same time. */
export const IMPORT_PATHS_MAX = 8
/** NARs of one `import-nar` command that are read at the same time, unless told otherwise (spec §4.5). */
export const IMPORT_NARS_MAX = 10
/** One read from a source file. */
export const READ_BUFFER_BYTES = 256 * KiB

// — Directories and path infos —

/** Directories of one closure that is uploaded, downloaded or walked: bounds the digests that are remembered. */
export const CLOSURE_DIRECTORIES_MAX = 4_000_000
/** Encoded bytes of one upload of directories, held in memory until it is complete and stored at once. */
export const DIRECTORY_UPLOAD_BYTES_MAX = 512 * MiB
/** Directories that a breadth-first walk loads ahead of the one it yields. */
export const DIRECTORY_LOADS_MAX = 32
/** Directories of one upload that are written to an object store at the same time. */
export const DIRECTORY_STORES_MAX = 64
/** First read of a stored closure: one block of zstd (RFC 8878: 128 KiB at most), and with it nearly every root. */
export const CLOSURE_FIRST_READ_BYTES = 132 * KiB
/** Further reads of a stored closure grow up to this. */
export const CLOSURE_READ_BYTES_MAX = 4 * MiB
/** Directories of which an object store knows whose closure they are in, for closures without an index: 25 MB … */
export const CLOSURE_MEMBERS_MAX = 250_000
/** … and bytes of such directories that it keeps; a larger closure is read again for each that was dropped. */
export const CLOSURE_MEMBER_BYTES_MAX = 32 * MiB
/** Path infos that a listing takes out of the database at once, between which it holds no read transaction. */
export const PATH_INFO_LIST_PAGE = 256

// — Copying —

/** Path infos, and directories of one tree, that are asked for at the same time (spec §4.1). */
export const COPY_LOOKUPS_MAX = 50
/** Store paths that are copied at the same time (spec §4.1). */
export const COPY_PATHS_AT_ONCE_MAX = 10
/** Store paths of one copy; of each the path info is held, 1 to 2 KiB. */
export const COPY_PATHS_MAX = 1_000_000
/** Blobs on their way from one store to another count with their size, but with this much at least … */
export const COPY_BLOB_BYTES_MIN = 1 * MiB
/** … and with this much at most: a blob is streamed, and no more of it is in memory … */
export const COPY_BLOB_BYTES_MAX = 8 * MiB
/** … and together with this much. */
export const COPY_BLOB_BUDGET_BYTES = 64 * MiB
/** Blobs of one tree that wait for their turn. */
export const COPY_BLOBS_AHEAD = 128
/** A document that names store paths; `nix path-info --json` writes about 500 bytes a path. */
export const REFERENCE_GRAPH_BYTES_MAX = 512 * MiB
/** Nothing moved for so long: the progress line says that the copy is stalled. */
export const COPY_STALLED_MS = 10_000
/** Symlinks on the way to a file (linux/namei.h MAXSYMLINKS). */
export const SYMLINKS_FOLLOWED_MAX = 40

// — Several sources, and caches in front of them —

/** A source that has company fails after this long without an answer; the next one is asked. */
export const SOURCE_MS_MAX = 30_000
/** What a composition file may say instead: a day. Timers of Node know no more than 24 of them. */
export const SOURCE_SECONDS_MAX = 86_400
/** Entries of an `lru` of a composition file: its tables for so many take 200 MB. */
export const LRU_ENTRIES_MAX = 10_000_000
/** The same source is reported as failing once in so long. */
export const SOURCE_FAULT_LOG_MS = 60_000
/** Answers whose duration is remembered, to tell when a source is slow … */
export const LATENCY_SAMPLES = 128
/** … once there are this many. */
export const LATENCY_SAMPLES_MIN = 20
/** No second source is asked before this long: below it the first one is about to answer. */
export const HEDGE_MS_MIN = 5
/** Share of the questions that may go to a second source, too … */
export const HEDGE_SHARE_MAX = 0.1
/** … and how many of them in a row. */
export const HEDGE_BURST = 10
/** A blob that is only to be had as a whole is handed out of memory while it is cached, up to here. */
export const CACHE_HELD_BYTES_MAX = 4 * MiB
/** Closures above this many encoded bytes are passed through and not cached: they are held until complete. */
export const CACHE_CLOSURE_BYTES_MAX = 128 * MiB
/** Chunk lists that a cache remembers, counted in chunks. */
export const CACHE_CHUNK_LISTS_MAX = 200_000
/** Instances of one section of a composition file. */
export const COMPOSITION_INSTANCES_MAX = 1_000
/** A composition file is written by hand. */
export const COMPOSITION_FILE_BYTES_MAX = 1 * MiB
/** Writes of a queue that are sent to far at the same time. */
export const WRITE_BACK_UPLOADS_MAX = 8
/** Pauses between attempts to empty a queue whose far side fails … */
export const WRITE_BACK_RETRY_MS_MIN = 1_000
/** … up to this. */
export const WRITE_BACK_RETRY_MS_MAX = 30_000
/** Pauses between passes over what a far side refused, as somebody has to change something there first … */
export const WRITE_BACK_REFUSED_MS_MIN = 30_000
/** … up to this, while nothing gets across. */
export const WRITE_BACK_REFUSED_MS_MAX = 10 * 60_000
/** What is kept of why an upload was refused. */
export const REFUSAL_CHARACTERS_MAX = 500
/** Refused uploads that `config show` names. */
export const REFUSED_SHOWN_MAX = 10
/** A command that ends waits for its queue until nothing was sent for so long: an attempt and the pauses before three more. */
export const WRITE_BACK_STALL_MS_MAX = 15_000
/** What a blob cache on disk may take unless told otherwise. */
export const DISK_CACHE_BYTES = 10 * 1024 * MiB
/** Eviction goes on until this share of the limit is left. */
export const DISK_CACHE_KEPT_SHARE = 0.9
/** A cache looks at its folder again after it has written this share of the limit: others write there, too. */
export const DISK_CACHE_RESCAN_SHARE = 1 / 16
/** What a file takes on a disk at least, and a multiple of it, with most file systems. */
export const FILE_BLOCK_BYTES = 4 * KiB
/** Files of a cache folder that are looked at at the same time. */
export const DISK_CACHE_SCANS_MAX = 16
/** That a blob was used is written down once in so long. */
export const DISK_CACHE_TOUCH_MS = 10 * 60_000
/** Blobs of which it is remembered that their use is written down. */
export const DISK_CACHE_TOUCHED_MAX = 50_000
/** An eviction that is older than this is over, though a process of its number runs. */
export const DISK_CACHE_LOCK_STALE_MS = 5 * 60_000
/** Chunks of one blob whose filling can be kept track of: 256 GiB at the usual size. */
export const DISK_CACHE_CHUNKS_MAX = 1_000_000
/** Whole files of blobs of which it is remembered that they were right, so that opening one again reads nothing. */
export const LOCAL_FILES_VERIFIED_MAX = 50_000
/** Raw blobs of which it is remembered whether they must be hashed to be read; more are asked for again. */
export const KNOWN_FILES_MAX = 10_000
/** How long that holds before it is looked at anew: a system call or three in so long, for each that is being read. */
export const KNOWN_FILES_MS = 1000
/** Files from here on are marked as hashed: a smaller one is hashed in less time than it takes to note that it was. */
export const HASHED_MARK_BYTES_MIN = 1 * MiB
/** Blobs to be remembered as being put together from chunks that are not theirs. */
export const DISK_CACHE_REFUSED_MAX = 10_000
/** Blobs that a cache remembers to be corrupt in it. */
export const CACHE_CORRUPT_MAX = 10_000

// — gRPC —

/** `data` of one BlobChunk message: the knee of the throughput curve, far below a peer's 4 MiB limit. */
export const GRPC_BLOB_MESSAGE_BYTES = 1 * MiB
/** Pieces of a blob smaller than this share messages: to make, send and take a message costs as much as 64 KiB of data. */
export const GRPC_BLOB_PIECE_BYTES_MIN = 64 * KiB
/** Largest message we accept. Peers with default settings accept 4 MiB; we never send blobs above that. */
export const GRPC_RECEIVE_BYTES_MAX = DIRECTORY_BYTES_MAX + 1 * MiB
/** Largest message that a peer takes who says nothing: the default of every gRPC library. */
export const GRPC_PEER_RECEIVE_BYTES = 4 * MiB
/** Calls on one connection at the same time: an import of many small files has several hundred uploads open. */
export const GRPC_STREAMS_MAX = 1_024
/**
 * Calls that one connection may cancel at once, and per second from then on, before it is cut. It is there against floods of
 * resets; Node's 1,000 and 33 also meet readers that look into many blobs and leave, whose other calls are cut then, too.
 */
export const GRPC_RESETS_BURST = 10_000
export const GRPC_RESETS_PER_SECOND = 500
/** Names and values of the metadata of a call; a bearer token and a trace context are under 2 KiB. */
export const GRPC_METADATA_BYTES_MAX = 16 * KiB
/** With more answers on their way than this a message is made when the one before it has left, and not while it leaves. */
export const GRPC_STREAMS_AHEAD_MAX = CHUNK_READS_OF_ALL_MAX
/** Uploads at the same time, over all connections of a server. */
export const GRPC_UPLOADS_MAX = 2_048
/** Messages of uploads that a server's store has in hand, over all connections. */
export const GRPC_UPLOAD_BYTES_IN_FLIGHT_MAX = 512 * MiB
/** Of a message that is announced this much memory is taken at once, and more as it comes in. */
export const GRPC_FRAME_PREALLOCATED_BYTES_MAX = 1 * MiB
/** Received pieces of a message that are smaller than this are copied together; larger ones are handed on as they are. */
export const GRPC_PIECE_BYTES_MIN = 8 * KiB
/** HTTP/2 flow-control window of a stream and of a connection. */
export const GRPC_WINDOW_BYTES = 8 * MiB
/** A unary call, or the silence between two messages of a stream, may last this long. */
export const GRPC_CALL_MS_MAX = 30_000
/** Rendering a NAR for its hash sends nothing until it is done. */
export const GRPC_CALCULATE_NAR_MS_MAX = 600_000
/** An address with `wait-connect=1` is given up after this long. */
export const GRPC_CONNECT_MS_MAX = 10_000
/** A server has this long to notice that an upload was given up before it is cut off. */
export const GRPC_CANCEL_MS_MAX = 2_000
/** A lost connection is tried again after this long at first … */
export const GRPC_RECONNECT_MS_MIN = 100
/** … and after this long at most: a mount works again soon after its daemon is back. */
export const GRPC_RECONNECT_MS_MAX = 1_000
/** Pauses before a read that found its peer unavailable is tried again: at most 2 s together. */
export const GRPC_RETRY_MS: readonly number[] = [100, 300, 600, 1_000]
/** A read waits this long for a peer that was there before: as long as our daemon takes to finish what was begun, and to start. */
export const GRPC_RETURN_MS = 15_000
/** Calls in a row without any answer after which a peer counts as dead: as many as one read makes. */
export const GRPC_CIRCUIT_FAILURES = 5
/** A dead peer gets a call this often, and one at once when its connection is there again. */
export const GRPC_CIRCUIT_MS = 3_000
/** The reading of one blob breaks off and goes on this often at most. */
export const GRPC_RESUMPTIONS_MAX = 8
/** A connection with calls on it is probed after this much silence … */
export const GRPC_KEEPALIVE_MS = 20_000
/** … and given up when the probe is not answered within this. */
export const GRPC_KEEPALIVE_TIMEOUT_MS = 10_000
/** Characters of a status message: percent-encoded it must fit the 16 KiB of headers that peers accept. */
export const GRPC_STATUS_CHARACTERS_MAX = 2_048

// — HTTP clients —

/** Names and values of the headers of an answer. */
export const HTTP_HEADER_BYTES_MAX = 16 * KiB
/** A URL that is asked for; servers commonly refuse longer ones. */
export const HTTP_URL_CHARACTERS_MAX = 8 * KiB
/** Redirects of one request; a mirror takes two or three. */
export const HTTP_REDIRECTS_MAX = 8
/** From the beginning of a request to a connection, TLS included. */
export const HTTP_CONNECT_MS_MAX = 10_000
/** From a connection to the head of the answer. */
export const HTTP_ANSWER_MS_MAX = 30_000
/** Within so long a time of waiting for a body … */
export const HTTP_SILENCE_MS_MAX = 30_000
/** … so much of it must come: a server that drips is as good as dead. */
export const HTTP_SILENCE_BYTES = 32 * KiB
/** A connection that was unused for longer is not used again: whoever is in between may have forgotten it without a word. */
export const HTTP_IDLE_MS_MAX = 30_000
/** What is made ready at once for a body whose size was announced; more when so much has come. */
export const HTTP_BODY_AT_ONCE_BYTES_MAX = 16 * MiB
/** Pauses before a request that found nobody, or a busy server, is made again. */
export const HTTP_RETRY_MS: readonly number[] = [200, 600, 1_500]
/** A server that asks for a longer pause (Retry-After) counts as unavailable. */
export const HTTP_RETRY_AFTER_MS_MAX = 5_000

/** A download whose connection breaks goes on so often without having made any progress. */
export const HTTP_RESUMPTIONS_MAX = 5
/** A small document must be here after this long, retries included. */
export const HTTP_DOCUMENT_MS_MAX = 30_000

// — Binary caches —

/** The document that a binary cache introduces itself with has three lines. */
export const NIX_CACHE_INFO_BYTES_MAX = 64 * KiB
/** A binary cache that could not be reached is not asked again for this long. */
export const NIX_CACHE_DOWN_MS = 3_000
/** The castore beside a binary cache that failed once is not asked again for this long: there are the NARs. */
export const NIX_CASTORE_FORGONE_MS = 5 * 60_000
/** A path that no binary cache had is asked for again after this long. */
export const SUBSTITUTE_ABSENT_MS = 30_000
/** Absent paths that are remembered for that long. */
export const SUBSTITUTE_ABSENT_MAX = 100_000
/** What was wrong with a path is told again without another download for this long … */
export const SUBSTITUTE_REFUSED_MS = 10_000
/** … of this many paths. */
export const SUBSTITUTE_REFUSED_MAX = 4_096
/** References and signatures of substituted paths that are kept in memory, about. */
export const SUBSTITUTE_KEPT_BYTES_MAX = 32 * MiB
/** Content-addressed paths whose contents are remembered to have been proven … */
export const CONTENT_PROOFS_MAX = 100_000
/** … those that are being read for it; what comes beyond them is told to try again … */
export const CONTENT_PROOFS_AT_ONCE_MAX = 64
/** … and for how long, when nobody waits for it any more. */
export const CONTENT_PROOF_MS_MAX = 60 * 60_000
/** NARs that are downloaded at the same time; more wait for their turn. */
export const SUBSTITUTE_NARS_MAX = 16
/** Narinfo documents that are asked for at the same time; more wait for their turn. */
export const SUBSTITUTE_NARINFOS_MAX = 64
/** Paths that are being substituted, waiting ones included. */
export const SUBSTITUTE_PATHS_MAX = 4_096
/** A path goes on to be substituted for this long though nobody waits for it any more. */
export const SUBSTITUTE_UNATTENDED_MS_MAX = 60 * 60_000
/** How often the progress of a download is logged, for those who debug. */
export const SUBSTITUTE_PROGRESS_MS = 5_000

// — Listening —

/** A TLS handshake is a few messages; a client that takes longer is given up. */
export const TLS_HANDSHAKE_MS_MAX = 10_000
/** The same fault of the same client is logged again after this long … */
export const FAULT_LOG_MS = 60_000
/** … of this many kinds of fault; beyond them the oldest is forgotten. */
export const FAULT_LOG_KINDS_MAX = 1_024
/** Faults of one code that are logged in that time: a `grep -r` on a mount whose store is away meets 100,000 of them. */
export const FAULT_LOG_LINES_MAX = 64
/** Bearer tokens of one server: each call is compared with all of them, which takes about 0.2 µs a token. */
export const TOKENS_MAX = 1_000

// — The HTTP server —

/** Ranges of one `Range` header; clients that resume or seek ask for one. */
export const HTTP_RANGES_MAX = 16
/** Requests at the same time, over all connections; Nix makes 25 a process. */
export const HTTP_REQUESTS_MAX = 4_096
/** Uploads at the same time, over all connections: each holds a decompressor and a few MiB of small files. */
export const HTTP_UPLOADS_MAX = 256
/** From the first byte of a connection to the end of its first headers. */
export const HTTP_SERVER_HEADERS_MS_MAX = 15_000
/** A connection on which nothing moves for this long is cut, in either direction. */
export const HTTP_SERVER_SILENCE_MS_MAX = 120_000
/** An idle connection is kept for the next request this long. */
export const HTTP_SERVER_KEEPALIVE_MS = 60_000
/** A body goes out in writes of at least this much, however small its pieces are. */
export const HTTP_WRITE_BYTES = 256 * KiB
/** What a connection takes in beyond what the kernel holds, so that the next pieces are made while these are sent. */
export const HTTP_WRITE_BUFFER_BYTES = 1 * MiB
/** What Node queues for a connection before its writer waits: it makes the next part meanwhile. */
export const SOCKET_BUFFER_BYTES = 1 * MiB
/** Flow-control window of an HTTP/2 upload. */
export const HTTP_WINDOW_BYTES = 4 * MiB
/** Content codings cost both sides more than they save below this. */
export const HTTP_COMPRESSION_BYTES_MIN = 1 * KiB
/** A client that is refused in the middle of an upload has this long to read why. */
export const HTTP_REFUSAL_MS = 2_000
/** One uploaded NAR, as it is transferred. */
export const HTTP_NAR_BYTES_MAX = 1024 * 1024 * MiB
/** The encoded root node in the URL of a NAR: a symlink with the longest target, where spec §7.2 has 4 KiB. */
export const HTTP_ROOT_NODE_BYTES_MAX = SYMLINK_TARGET_BYTES_MAX + 16
/** Narinfos that wait for their NARs … */
export const PENDING_NARINFOS_MAX = 100_000
/** … their documents … */
export const PENDING_NARINFO_BYTES_MAX = 64 * MiB
/** … and how long they wait. */
export const PENDING_NARINFO_MS_MAX = 24 * 3_600_000
/** Uploaded NARs that are remembered in memory; about 500 bytes each. */
export const NAR_INDEX_MEMORY_ENTRIES_MAX = 100_000

// — Reading through the mount —

/** Verified chunks kept in memory for the mount. The kernel's page cache is the real cache above it. */
export const MOUNT_CHUNK_CACHE_BYTES = 64 * MiB
/** Chunk lists of blobs kept in memory for the mount, counted in chunks. */
export const MOUNT_CHUNK_LISTS_MAX = 200_000
/** Decoded directories kept for the mount, counted in entries. What was dropped is fetched again when needed. */
export const MOUNT_DIRECTORY_CACHE_ENTRIES = 200_000
/** Read-ahead of a file that is read in order: what is on its way at 400 MB/s and 20 ms of latency. */
export const MOUNT_READ_AHEAD_BYTES = 8 * MiB
/**
 * … of one that comes from afar, and whose reads wait nevertheless; and of all such files together, so that nothing that was fetched
 * ahead gives way to something else: a quarter of the chunks that are kept, and what three quarters of the fetches bring.
 */
export const MOUNT_READ_AHEAD_BYTES_MAX = 16 * MiB
/** Who made one of so many last reads in order has a share of that. */
export const MOUNT_READ_AHEAD_READS = 32
/** Read-ahead begins with this much, once a file has been read in order, and doubles. */
export const MOUNT_READ_AHEAD_BYTES_MIN = 512 * KiB
/** A read of this size is none of a program that only looks at the beginning: the kernel maps the file, or reads it in order. */
export const MOUNT_LARGE_READ_BYTES_MIN = 256 * KiB
/** Of a source that is far away, blobs up to this size are fetched at once, if they come in the time of another round trip. */
export const MOUNT_WHOLE_BYTES_MAX = 2 * MiB
/** A source whose fastest chunk took this long is far away: then a guess costs less than another round trip. */
export const MOUNT_FAR_MS = 4
/** Files whose reading order is remembered. */
export const MOUNT_READ_AHEAD_FILES_MAX = 1_024
/** A blob whose source offers no chunks is held in memory as a whole; above this it cannot be read at random. */
export const UNCHUNKED_BLOB_BYTES_MAX = 256 * MiB
/** A system call on the mount ends after this long, whatever happened to the store behind it. */
export const MOUNT_CALL_MS_MAX = 60_000
/** What a source did not answer in time fails again at once for so long: the kernel repeats a read that failed. */
export const MOUNT_DEADLINE_MEMORY_MS = 250
/** A call that a signal interrupts still gets its answer if that comes within this time. */
export const MOUNT_INTERRUPT_GRACE_MS = 300
/** Fetches from the store on behalf of the mount at the same time; more wait for their turn. */
export const MOUNT_FETCHES_MAX = 64
/** Chunks that are being fetched for the mount hold at most this much memory; no less than the largest one. */
export const MOUNT_FETCH_BYTES_MAX = 256 * MiB
/** Names in the listing of the root; they are kept, so that a listing can be continued anywhere. */
export const MOUNT_ROOT_NAMES_MAX = 2_000_000
/** Places of names that are gone which a listing of the root keeps at least, so that it is rarely put together anew. */
export const ROOT_HOLES_MAX = 1_024
/** Who still reads from services that were replaced has this long to finish: twice what a call of a mount may take. */
export const RELOAD_LINGER_MS_MAX = 2 * MOUNT_CALL_MS_MAX
/** A store path that was absent is asked for again after this long. */
export const MOUNT_NEGATIVE_MS = 1_000
/** Store paths that the kernel holds are looked up again, to see whether they are gone: after such a pause at least … */
export const ROOT_CHECK_PAUSE_MS_MIN = 5_000
/** … for this share of the time at most, so that a large or distant store is asked less often … */
export const ROOT_CHECK_SHARE = 0.05
/** … and so many at the same time: a sixteenth of what the mount asks at once. */
export const ROOT_CHECKS_AT_ONCE_MAX = 4

/** Lines of a profile: what it takes to list and read as many files. */
export const PROFILE_ENTRIES_MAX = 1_000_000
/** Entries of a profile that are fetched at the same time: half of what the mount fetches, so that readers come first. */
export const PROFILE_FETCHES_MAX = MOUNT_FETCHES_MAX / 2
/** Contents that a profile fetches ahead: they are kept in memory until they are read, and nothing else should be lost. */
export const PROFILE_BYTES_MAX = 48 * MiB
/** When even the fastest directory took longer, they come over a network or from another process; then the rest of its parent's subtree is fetched at once. */
export const SUBTREE_LATENCY_MS = 0.2
/** When even the fastest took this long, the directories of a store path are fetched as soon as it is looked up. */
export const SUBTREE_FAR_MS = 2
/** Subtrees that are fetched at the same time. */
export const SUBTREES_AT_ONCE_MAX = 8
/** Entries of one subtree that are fetched ahead: half of what the mount keeps, so that they are there when needed. */
export const SUBTREE_ENTRIES_MAX = MOUNT_DIRECTORY_CACHE_ENTRIES / 2
/** Directories of which is remembered how many below them were missing. */
export const SUBTREE_PARENTS_MAX = 1_024
/** Files up to this size are put into the page cache ahead of being read; the addon takes 64 KiB. */
export const FILL_FILE_BYTES_MAX = 16 * KiB
/** What one directory that begins to be read is evidence for, at first … */
export const FILL_WINDOW_BYTES_MIN = 1 * MiB
/** … and after it proved right again and again. */
export const FILL_WINDOW_BYTES_MAX = 64 * MiB
/** The same where files come over a network; they are kept in memory until they are read. */
export const FILL_AFAR_BYTES_MAX = 8 * MiB
/** Parts of chunks that one read may be put together from by the addon; more are read in JavaScript. */
export const READ_PLAN_SPANS_MAX = 64
/** Chunks that the addon reads: four of its threads hold one each. */
export const READ_PLAN_CHUNK_BYTES_MAX = 16 * MiB
/**
 * What a file that is read in order has loaded ahead by the addon, half of it at a time: four chunks, which take one thread less than
 * a millisecond, and of which it keeps 64.
 */
export const PLANNED_READ_AHEAD_BYTES = 1 * MiB
/** Buffers of 1 MiB for what the addon reads into memory; reads beyond go the usual way. */
export const MEMORY_READS_MAX = 32
/** Small files that wait to be fetched ahead … */
export const FILL_AFAR_WAITING_MAX = 1_024
/** … and those that are being fetched: a quarter of what the mount fetches at once. */
export const FILL_AFAR_FETCHES_MAX = MOUNT_FETCHES_MAX / 4
/** What counts as small where a round trip costs more than the contents: headers, modules, scripts. */
export const SMALL_FILE_BYTES_MAX = 64 * KiB
/** So many small files of one directory had to be fetched, each by itself, before the others are fetched … */
export const SIBLINGS_MISSES_ENOUGH = 3
/** … up to this much of them: nobody knows whether they will be read. */
export const SIBLINGS_BYTES_MAX = 1 * MiB
/** Directories whose misses are counted. */
export const SIBLINGS_DIRECTORIES_MAX = 1_024
/** Records of listed files that wait for such evidence, 64 bytes each; beyond it the oldest are forgotten. */
export const FILL_RECORDS_BYTES_MAX = 8 * MiB

/** Paths whose inodes the libfuse driver keeps; its kernel names everything by path. */
export const LIBFUSE_PATHS_MAX = 100_000
/** How often the libfuse driver looks whether somebody else unmounted it. */
export const LIBFUSE_WATCH_MS = 1_000

// — Processes —

/** Text for standard output is gathered up to this before it is written. */
export const TEXT_OUTPUT_CHARACTERS = 16 * KiB

/** A process that ends at once waits so long for fusermount3 to take its mount away. */
export const FUSERMOUNT_EXIT_MS_MAX = 2_000
/** What was begun may take this long to finish after a stop signal; then it is cut. */
export const SHUTDOWN_MS_MAX = 10_000

// — The FUSE session and its mount point —

/** One READ or listing: 256 pages of 4 KiB, the kernel's default `fs.fuse.max_pages_limit`. */
export const FUSE_READ_BYTES_MAX = 1 * MiB
/** Requests of a read-only mount are short, but 64 KiB carry 4,000 FORGETs at once; the kernel demands 8 KiB. */
export const FUSE_REQUEST_BYTES_MAX = 64 * KiB
/** Requests served before the event loop gets to sockets and timers again. */
export const FUSE_REQUESTS_PER_TURN = 64
/** Microseconds for which the next request is looked for before the thread sleeps: less than what waking up costs. */
export const FUSE_PATIENCE_US = 50
/** Who asks again this soon after we went to sleep will probably do so again, in milliseconds: it includes waking us up. */
export const FUSE_QUICK_MS = 0.2
/**
 * The same for who walks through directories, while the next listing is ready: the kernel makes inodes of 190 entries in that time. And for who
 * opens file after file that is a script: half of those come so soon.
 */
export const FUSE_WALK_PATIENCE_US = 500
export const FUSE_WALK_QUICK_MS = 0.5
/** Read-ahead requests of the kernel in flight (`max_background`; its default of 12 is for local disks). */
export const FUSE_BACKGROUND_MAX = 128
/** Pages of listings that are put together before a guest asks for them (`PAGES_MAX` of native/prepared_pages.h) … */
export const LISTINGS_AHEAD_MAX = 8
/** … none of which has room for more than this: where a guest asks for more at a time, it waits seldom. */
export const LISTINGS_AHEAD_BYTES_MAX = 32 * KiB
/** Directories of which it is known which one comes next in the listing of their parent. */
export const LISTINGS_AHEAD_FOLLOWERS_MAX = 1_024
/** Buffers for listings that are kept for reuse. */
export const FUSE_LISTINGS_KEPT_MAX = 4
/** A listing that is answered before JavaScript hears of it: twice what a C library asks for. */
export const LISTING_ANSWER_BYTES_MAX = 64 * KiB
/** The encoding of a directory that is made ready so; four are kept, as copies. */
export const LISTING_PREPARED_BYTES_MAX = 256 * KiB
/** The kernel's copy of the root listing is dropped after this long, so that new paths show up. */
export const MOUNT_ROOT_LISTING_MS = 1_000
/** A mount point that does not answer for this long is held for wedged. */
export const MOUNT_PROBE_MS = 2_000
/** From mount(2) to the kernel's first request. */
export const MOUNT_READY_MS = 10_000
/** Mounts stacked on one mount point by killed processes that are cleaned up. */
export const MOUNT_STALE_MAX = 16

// — Guests —

/** A table of eight regions has 264 bytes; nothing longer is understood. */
export const VHOST_MESSAGE_BYTES_MAX = 4 * KiB
/** Queues of one guest: one of high priority, and as many for requests as a large guest has processors. */
export const GUEST_QUEUES_MAX = 65
/** Descriptors of a queue; a read of 1 MiB takes 257 of them. */
export const GUEST_QUEUE_SIZE_MAX = 1_024
/** Requests of one guest that wait for the store; what it asks beyond stays in its queues. */
export const GUEST_REQUESTS_MAX = 512
/** A guest that is stopped waits this long for the answers to what it asked, which its front-end waits for, too. */
export const GUEST_STOP_MS_MAX = 2_000
/** Whoever broke the rules is not listened to again for this long, so that the log is not filled with it. */
export const GUEST_FAULT_MS = 1_000
/** As `FUSE_WALK_PATIENCE_US`, for guests: an emulated one makes inodes of a page of 25 entries in 600 to 1,000 µs, KVM in a tenth of that. */
export const GUEST_WALK_PATIENCE_US = 1_500
export const GUEST_WALK_QUICK_MS = 1.5
/** Guests that asked within this time share the thread: none of them is waited for, in milliseconds. */
export const GUEST_COMPANY_MS = 100
/** Inodes that a guest gives back at its end before others are served again. */
export const GUEST_FORGETS_PER_TURN = 2_048

// — Pages for people —

/** Paths in one table of the overview, and entries of a directory on one page. */
export const PAGES_ROWS = 100
export const PAGES_ENTRIES = 1_000
/** References shown on the page of a path; the narinfo has all. */
export const PAGES_REFERENCES_MAX = 500
/** Names that the overview keeps in memory, in paths … */
export const PAGES_INDEX_PATHS_MAX = 2_000_000
/** … and bytes of names, which is what bounds it when names are long. While it is read again it is there twice. */
export const PAGES_INDEX_BYTES_MAX = 128 * MiB
/** A listing that takes longer is given up. */
export const PAGES_INDEX_MS_MAX = 600_000
/** A listing is read again after this many times as long as reading it took, and no sooner than … */
export const PAGES_INDEX_REST = 20
export const PAGES_INDEX_REST_MS_MIN = 1_000
/** A request waits this long for a listing that is being read, and then shows what is known … */
export const PAGES_INDEX_WAIT_MS = 20
/** … or this long, when nothing is known yet. */
export const PAGES_INDEX_FIRST_WAIT_MS = 250
/** Work on the names of all paths gets out of the way of other requests after this long. */
export const PAGES_TURN_MS_MAX = 3
/** Words of a search, and characters; more are ignored. */
export const PAGES_SEARCH_WORDS_MAX = 8
export const PAGES_SEARCH_CHARACTERS_MAX = 300
/** Searches and walks through references that are done at the same time; more wait for their turn. */
export const PAGES_WALKS_MAX = 4
/** A closure on the page of a path ends after so many paths or so long, with what is known then … */
export const PAGES_CLOSURE_GLANCE_PATHS_MAX = 1_000
export const PAGES_CLOSURE_GLANCE_MS_MAX = 50
/** … and on a page of its own here. */
export const PAGES_CLOSURE_PATHS_MAX = 20_000
export const PAGES_CLOSURE_MS_MAX = 10_000
/** Path infos of a closure that are asked for at the same time. */
export const PAGES_CLOSURE_GETS_MAX = 32
/** Text files up to this size are shown. */
export const PAGES_TEXT_BYTES_MAX = 256 * KiB
/** Every other wait of a page for the store. */
export const PAGES_CALL_MS_MAX = 30_000
/** What V8 adds to what is kept of the heap, in percent of that, before it collects what is old. */
export const HEAP_GROWTH_PERCENT = 100
/** When that begins: after whoever waited for the start has had a look. */
export const HEAP_GROWTH_AFTER_MS = 1_000
