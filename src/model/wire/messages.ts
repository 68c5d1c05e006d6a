/**
 * The small messages of the remote procedures (spec §1.3, §1.4, §1.6), each as a codec between bytes and a plain
 * shape. Digests in requests stay raw bytes: what is wrong with them is the server's to say, in its own words.
 */
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { concatBytes, view } from '../../support/bytes.ts'
import { BLOB_BYTES_MAX } from '../../support/limits.ts'
import { Digest } from '../castore/digest.ts'
import { ProtoReader } from '../castore/proto.ts'
import { ValidationError } from '../castore/validation-error.ts'
import {
  PutBlobResponseSchema,
  ReadBlobRequestSchema,
  StatBlobRequestSchema,
  StatBlobResponseSchema,
} from './generated/tvix/castore/protos/rpc_blobstore_pb.js'
import {
  GetDirectoryRequestSchema,
  PutDirectoryResponseSchema,
} from './generated/tvix/castore/protos/rpc_directory_pb.js'
import {
  CalculateNARResponseSchema,
  GetPathInfoRequestSchema,
} from './generated/tvix/store/protos/rpc_pathinfo_pb.js'
import type { Codec } from './rpc.ts'

export interface StatBlobRequest {
  readonly digest: Uint8Array
  readonly sendChunks: boolean
}

export const statBlobRequest: Codec<StatBlobRequest> = {
  encode: ({ digest, sendChunks }) =>
    toBinary(StatBlobRequestSchema, create(StatBlobRequestSchema, { digest, sendChunks })),
  decode: (bytes) => decode(StatBlobRequestSchema, bytes),
}

/** One entry of a chunk list. */
export interface WireChunk {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
}

/** The chunks of a blob; object stores keep this message as it is (spec §3.3). */
export const statBlobResponse: Codec<readonly WireChunk[]> = {
  encode(chunks) {
    const list = chunks.map(({ digest, size }) => ({ digest: digest.bytes, size: BigInt(size) }))
    return toBinary(StatBlobResponseSchema, create(StatBlobResponseSchema, { chunks: list }))
  },
  decode(bytes) {
    const { chunks } = decode(StatBlobResponseSchema, bytes)
    return chunks.map(({ digest, size }) => {
      if (size > BLOB_BYTES_MAX) throw new ValidationError('SizeOverflow', `chunk of ${size} bytes`)
      return { digest: Digest.fromBytes(digest), size: Number(size) }
    })
  },
}

/** The digest that is to be read. */
export const readBlobRequest: Codec<Uint8Array> = {
  encode: (digest) => toBinary(ReadBlobRequestSchema, create(ReadBlobRequestSchema, { digest })),
  decode: (bytes) => decode(ReadBlobRequestSchema, bytes).digest,
}

const DATA_TAG = 0x0a // field 1, length-delimited
const EMPTY = new Uint8Array(0)

/**
 * The data of one BlobChunk. By hand, since every byte of every blob passes through here: decoding gives a view
 * into the message, `encodeParts` one of the data, and encoding copies once.
 */
export const blobChunk: Codec<Uint8Array> = {
  encode: (data) => concatBytes(encodeBlobChunk(data)),
  encodeParts: encodeBlobChunk,
  decode: decodeBlobChunk,
  decodeParts(parts) {
    const first = parts[0] ?? EMPTY
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    const headBytes = headOfOnlyField(first, bytes)
    if (headBytes === undefined) return [decodeBlobChunk(concatBytes(parts, bytes))]
    return [first.subarray(headBytes), ...parts.slice(1)]
  },
}

function decodeBlobChunk(bytes: Uint8Array): Uint8Array {
  let data: Uint8Array = EMPTY
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) data = reader.bytes()
    else reader.skip()
  }
  return data
}

/** Where the data begins in a message of `bytes` bytes that holds nothing else; `undefined` for any other message. */
function headOfOnlyField(first: Uint8Array, bytes: number): number | undefined {
  if (first[0] !== DATA_TAG) return undefined
  let length = 0
  for (let at = 1; at < Math.min(first.length, 1 + 4); at++) {
    length |= (first[at]! & 0x7f) << (7 * (at - 1))
    if (first[at]! < 0x80) return at + 1 + length === bytes ? at + 1 : undefined
  }
  return undefined
}

function encodeBlobChunk(data: Uint8Array): readonly Uint8Array[] {
  if (data.length === 0) return []
  const head = new Uint8Array(1 + varintBytes(data.length))
  head[0] = DATA_TAG
  let rest = data.length
  for (let i = 1; i < head.length - 1; i++) {
    head[i] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  head[head.length - 1] = rest
  return [head, data]
}

function varintBytes(value: number): number {
  return Math.max(1, Math.ceil((32 - Math.clz32(value)) / 7))
}

/** The digest of what was stored. */
export const putBlobResponse: Codec<Digest> = {
  encode: (digest) =>
    toBinary(PutBlobResponseSchema, create(PutBlobResponseSchema, { digest: digest.bytes })),
  decode: (bytes) => Digest.fromBytes(decode(PutBlobResponseSchema, bytes).digest),
}

export interface GetDirectoryRequest {
  /** `undefined` where the request names nothing. */
  readonly digest: Uint8Array | undefined
  readonly recursive: boolean
}

export const getDirectoryRequest: Codec<GetDirectoryRequest> = {
  encode({ digest, recursive }) {
    const byWhat = digest ? { case: 'digest' as const, value: digest } : { case: undefined }
    return toBinary(GetDirectoryRequestSchema, create(GetDirectoryRequestSchema, { byWhat, recursive }))
  },
  decode(bytes) {
    const { byWhat, recursive } = decode(GetDirectoryRequestSchema, bytes)
    return { digest: byWhat.value, recursive }
  },
}

/** The digest of the root. */
export const putDirectoryResponse: Codec<Digest> = {
  encode: (root) =>
    toBinary(PutDirectoryResponseSchema, create(PutDirectoryResponseSchema, { rootDigest: root.bytes })),
  decode: (bytes) => Digest.fromBytes(decode(PutDirectoryResponseSchema, bytes).rootDigest),
}

/** The output hash; `undefined` where the request names nothing. */
export const getPathInfoRequest: Codec<Uint8Array | undefined> = {
  encode(outputHash) {
    const byWhat = outputHash ? { case: 'byOutputHash' as const, value: outputHash } : { case: undefined }
    return toBinary(GetPathInfoRequestSchema, create(GetPathInfoRequestSchema, { byWhat }))
  },
  decode: (bytes) => decode(GetPathInfoRequestSchema, bytes).byWhat.value,
}

/** ListPathInfoRequest has no fields. */
export const listPathInfoRequest: Codec<undefined> = {
  encode: () => EMPTY,
  decode: () => undefined,
}

export interface CalculateNarResponse {
  /** Bytes; u64. */
  readonly narSize: bigint
  /** 32 bytes. */
  readonly narSha256: Uint8Array
}

const SHA256_BYTES = 32

export const calculateNarResponse: Codec<CalculateNarResponse> = {
  encode: (nar) => toBinary(CalculateNARResponseSchema, create(CalculateNARResponseSchema, nar)),
  decode(bytes) {
    const { narSize, narSha256 } = decode(CalculateNARResponseSchema, bytes)
    if (narSha256.length !== SHA256_BYTES)
      throw new ValidationError(
        `InvalidNarSha256DigestLen(${narSha256.length})`,
        `nar_sha256 has ${narSha256.length} bytes instead of ${SHA256_BYTES}`,
      )
    return { narSize, narSha256 }
  },
}

/** Decodes a generated message; bytes that are no protobuf at all become a ValidationError. */
export function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, view(bytes), { readUnknownFields: false })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ValidationError('Malformed', `not a valid protobuf message: ${reason}`, { cause: error })
  }
}
