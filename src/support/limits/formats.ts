/** Formats, chunks and what is decompressed. */
import { KiB, MiB } from './units.ts'

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

/** Chunks that a blob is gathered for before they are cut, in the largest possible size: some 3 ms of a thread. */
export const BLOB_PORTION_CHUNKS = 8
/** Portions that a writer of a blob fills, cuts and stores at the same time: what comes while a disk syncs. */
export const BLOB_PORTIONS_MAX = 10
/** Portions of all blobs of the process. When that many are in use writers get smaller ones, and few of them. */
export const BLOB_PORTIONS_OF_ALL_MAX = 18
/** Such a smaller portion counts so many. */
export const BLOB_PORTION_SMALL_UNITS = 2

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
