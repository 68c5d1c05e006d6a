/** The mount: what is read, pushed and fetched through it, and its session with the kernel. */
import { KiB, MiB } from './units.ts'

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
