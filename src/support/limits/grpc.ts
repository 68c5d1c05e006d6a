/** gRPC, client and server. */
import { CHUNK_READS_OF_ALL_MAX, DIRECTORY_BYTES_MAX } from './formats.ts'
import { KiB, MiB } from './units.ts'

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
/** How often a silent server is pinged by a client that waits for long: above the five minutes that other servers insist on. */
export const GRPC_LONG_CALL_KEEPALIVE_MS = 330_000
/** A connection for long calls on which none runs is given up after this long. */
export const GRPC_LONG_CALL_IDLE_MS = 20_000
/** Characters of a status message: percent-encoded it must fit the 16 KiB of headers that peers accept. */
export const GRPC_STATUS_CHARACTERS_MAX = 2_048
