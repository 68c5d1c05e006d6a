import {
  GRPC_CALL_MS_MAX,
  GRPC_CIRCUIT_FAILURES,
  GRPC_CIRCUIT_MS,
  GRPC_RESUMPTIONS_MAX,
  GRPC_RETRY_MS,
  GRPC_RETURN_MS,
} from '../support/limits.ts'

/** How patient a channel is with its peer. */
export interface GrpcPolicy {
  /** How long the peer may stay silent while we wait for it, unless a call says otherwise. */
  readonly patienceMs: number
  /** Pauses before a read that found its peer unavailable is tried again; jitter takes up to half of each. */
  readonly retryMs: readonly number[]
  /** How long reads wait for a peer that has answered before: it may be stopping, to be started again. */
  readonly returnMs: number
  /** Calls in a row without any answer after which the peer counts as dead. */
  readonly circuitFailures: number
  /** How often a dead peer that is connected gets a call, to see whether it answers again. */
  readonly circuitMs: number
  /** How often the reading of one blob may break off and go on. */
  readonly resumptions: number
}

export const DEFAULT_GRPC_POLICY: GrpcPolicy = {
  patienceMs: GRPC_CALL_MS_MAX,
  retryMs: GRPC_RETRY_MS,
  returnMs: GRPC_RETURN_MS,
  circuitFailures: GRPC_CIRCUIT_FAILURES,
  circuitMs: GRPC_CIRCUIT_MS,
  resumptions: GRPC_RESUMPTIONS_MAX,
}
