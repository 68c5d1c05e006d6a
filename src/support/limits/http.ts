/** HTTP: clients, binary caches of others, listening, and the server. */
import { SYMLINK_TARGET_BYTES_MAX } from './formats.ts'
import { KiB, MiB } from './units.ts'

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
