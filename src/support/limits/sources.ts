/** Several sources, and caches in front of them. */
import { KiB, MiB } from './units.ts'

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
