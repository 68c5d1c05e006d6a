/** The metadata that our clients send and our servers understand. */

/** W3C Trace Context. */
export const TRACEPARENT_HEADER = 'traceparent'
/**
 * The largest message that a client can receive, in bytes. Ours; gRPC has nothing for it, and a peer that says
 * nothing is taken to have the 4 MiB of every gRPC library.
 */
export const RECEIVE_LIMIT_HEADER = 'tvix-store-receive-bytes-max'
