/** What goes in and out: ingestion, NARs, closures, copies. */
import { DIRECTORY_BYTES_MAX } from './formats.ts'
import { KiB, MiB } from './units.ts'

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
