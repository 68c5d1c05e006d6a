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
/** A narinfo document; Nix documents are a few KiB, thousands of references make a few hundred. */
export const NARINFO_BYTES_MAX = 1 * MiB

// — Chunking (spec §3.3) —

/** Average of content-defined chunks; min is half of it, max is twice it. */
export const CHUNK_BYTES_AVG = 256 * KiB
/** What one decompressed chunk may be at most: other writers may use a larger average than ours. */
export const CHUNK_BYTES_MAX = 64 * MiB
/** Chunks of one blob that are compressed and stored at the same time. */
export const CHUNK_UPLOADS_MAX = 8

// — Ingestion (spec §6.2, Appendix B) —

/** Blobs up to this size are held in memory and uploaded concurrently; larger ones are streamed. */
export const SMALL_BLOB_BYTES_MAX = 1 * MiB
/** Bytes of small blobs in memory at once, over all imports of the process. */
export const SMALL_BLOB_BUDGET_BYTES = 128 * MiB
/** Files of one import that are open at the same time. */
export const INGEST_FILES_MAX = 50
/** Paths of one `import` command that are worked on at the same time. */
export const IMPORT_PATHS_MAX = 8
/** One read from a source file. */
export const READ_BUFFER_BYTES = 256 * KiB

// — gRPC —

/** `data` of one BlobChunk message: the knee of the throughput curve, far below a peer's 4 MiB limit. */
export const GRPC_BLOB_MESSAGE_BYTES = 512 * KiB
/** Largest message we accept. Peers with default settings accept 4 MiB; we never send blobs above that. */
export const GRPC_RECEIVE_BYTES_MAX = DIRECTORY_BYTES_MAX + 1 * MiB
/** HTTP/2 flow-control window of a stream and of a connection. */
export const GRPC_WINDOW_BYTES = 8 * MiB
/** A unary call, or the silence between two messages of a stream, may last this long. */
export const GRPC_CALL_MS_MAX = 30_000
/** Messages of one upload that wait for the transport. */
export const GRPC_REFLECTION_STREAMS_MAX = 64

// — Reading through the mount —

/** Verified chunks kept in memory for the mount. The kernel's page cache is the real cache above it. */
export const MOUNT_CHUNK_CACHE_BYTES = 96 * MiB
/** Chunk lists of blobs kept in memory for the mount, counted in chunks. */
export const MOUNT_CHUNK_LISTS_MAX = 200_000
/** Decoded directories kept although the kernel forgot them, counted in entries. */
export const MOUNT_DIRECTORY_CACHE_ENTRIES = 200_000
/** Read-ahead of a file that is read in order. */
export const MOUNT_READ_AHEAD_BYTES = 4 * MiB
/** A blob whose source offers no chunks is held in memory as a whole; above this it cannot be read at random. */
export const UNCHUNKED_BLOB_BYTES_MAX = 256 * MiB
/** A system call on the mount ends after this long, whatever happened to the store behind it. */
export const MOUNT_CALL_MS_MAX = 60_000
/** Fetches from the store on behalf of the mount at the same time; more wait for their turn. */
export const MOUNT_FETCHES_MAX = 64
/** A store path that was absent is asked for again after this long. */
export const MOUNT_NEGATIVE_MS = 1_000
