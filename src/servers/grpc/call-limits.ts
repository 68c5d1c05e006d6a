import { StoreError } from '../../support/errors.ts'
import {
  GRPC_METADATA_BYTES_MAX,
  GRPC_STREAMS_MAX,
  GRPC_UPLOAD_BYTES_IN_FLIGHT_MAX,
  GRPC_UPLOADS_MAX,
} from '../../support/limits.ts'

export interface CallLimitValues {
  /** Calls that run on one connection at the same time. */
  readonly streams: number
  /** Names and values of the metadata of one call. */
  readonly metadataBytes: number
  /** Uploads of blobs and directories that run at the same time, over all connections. */
  readonly uploads: number
  /** Messages of uploads that a store has in hand, over all connections. */
  readonly uploadBytesInFlight: number
}

const DEFAULTS: CallLimitValues = {
  streams: GRPC_STREAMS_MAX,
  metadataBytes: GRPC_METADATA_BYTES_MAX,
  uploads: GRPC_UPLOADS_MAX,
  uploadBytesInFlight: GRPC_UPLOAD_BYTES_IN_FLIGHT_MAX,
}

/**
 * What one server lets its clients do at once. Each method throws `exhausted`, naming the limit, and takes nothing
 * then; what it took is to be given back by the function it returns, once.
 */
export class CallLimits {
  readonly #limits: CallLimitValues
  readonly #streams = new WeakMap<object, number>()
  #uploads = 0
  #bytes = 0

  constructor(limits: Partial<CallLimitValues> = {}) {
    this.#limits = { ...DEFAULTS, ...limits }
  }

  checkMetadata(bytes: number): void {
    refuseAbove(this.#limits.metadataBytes, bytes, 'bytes of metadata a call')
  }

  takeStream(connection: object): () => void {
    const running = (this.#streams.get(connection) ?? 0) + 1
    refuseAbove(this.#limits.streams, running, 'calls at once on a connection')
    this.#streams.set(connection, running)
    return () => this.#streams.set(connection, this.#streams.get(connection)! - 1)
  }

  takeUpload(): () => void {
    refuseAbove(this.#limits.uploads, this.#uploads + 1, 'uploads at once')
    this.#uploads++
    return () => {
      this.#uploads--
    }
  }

  takeUploadBytes(bytes: number): () => void {
    refuseAbove(this.#limits.uploadBytesInFlight, this.#bytes + bytes, 'bytes of uploads in flight')
    this.#bytes += bytes
    return () => {
      this.#bytes -= bytes
    }
  }
}

function refuseAbove(limit: number, wanted: number, what: string): void {
  if (wanted > limit)
    throw new StoreError('exhausted', `above the limit of ${limit} ${what} (this would be ${wanted})`)
}
