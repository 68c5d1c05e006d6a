import type { Metadata } from '@grpc/grpc-js'
import { RECEIVE_LIMIT_HEADER } from '../../services/grpc-headers.ts'
import { StoreError } from '../../support/errors.ts'
import { GRPC_PEER_RECEIVE_BYTES } from '../../support/limits.ts'

/** How large a message the client of a call can receive: what it says, else what gRPC libraries take by default. */
export function receiveLimitOf(metadata: Metadata): number {
  const said = Number(metadata.get(RECEIVE_LIMIT_HEADER)[0])
  return Number.isSafeInteger(said) && said > 0 ? said : GRPC_PEER_RECEIVE_BYTES
}

/** Throws `exhausted` rather than sending what a client would break off at, with a message that helps nobody. */
export function checkResponseSize(bytes: number, limit: number): void {
  if (bytes > limit)
    throw new StoreError(
      'exhausted',
      `the answer has ${bytes} bytes, above the limit of ${limit} bytes a message of this client: let it receive more, and say so in the header ${RECEIVE_LIMIT_HEADER}`,
    )
}
