/** What the servers and the client of the gRPC bench have agreed on. */
import { Digest } from '../../src/model/castore/digest.ts'
import { CHUNK_BYTES_AVG } from '../../src/support/limits.ts'

/** A blob of zero cost to its server; the digest is only a name for it, and nobody verifies it. */
export const PATTERN_DIGEST = Digest.of(Buffer.from('pattern'))
export const PATTERN_BYTES = 1024 * 1024 * 1024
/** What a store hands out at once. */
export const PATTERN_PIECE_BYTES = CHUNK_BYTES_AVG
export const READ_PATH = '/tvix.castore.v1.BlobService/Read'
