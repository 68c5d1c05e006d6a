/**
 * The small messages of the remote procedures (spec §1.3, §1.4, §1.6), each as a codec between bytes and a plain
 * shape. Digests in requests stay raw bytes: what is wrong with them is the server's to say, in its own words.
 */
import { concatBytes, view } from '../../support/bytes.ts'
import { BLOB_BYTES_MAX } from '../../support/limits.ts'
import { Digest } from '../castore/digest.ts'
import { ProtoReader, ProtoWriter } from '../castore/proto.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { Codec } from './rpc.ts'

const EMPTY: Uint8Array = new Uint8Array(0)

export interface StatBlobRequest {
  readonly digest: Uint8Array
  readonly sendChunks: boolean
}

export const statBlobRequest: Codec<StatBlobRequest> = {
  encode({ digest, sendChunks }) {
    const writer = new ProtoWriter()
    writer.bytes(1, digest)
    writer.bool(2, sendChunks)
    return writer.finish()
  },
  decode(bytes) {
    let [digest, sendChunks] = [EMPTY, false]
    const reader = new ProtoReader(view(bytes))
    while (reader.next()) {
      if (reader.field === 1) digest = reader.bytes()
      else if (reader.field === 2) sendChunks = reader.bool()
      else reader.skip()
    }
    return { digest, sendChunks }
  },
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
    const writer = new ProtoWriter()
    for (const { digest, size } of chunks)
      writer.message(2, (inner) => {
        inner.bytes(1, digest.bytes)
        inner.uint64(2, BigInt(size))
      })
    return writer.finish()
  },
  decode(bytes) {
    const chunks: WireChunk[] = []
    const reader = new ProtoReader(view(bytes))
    while (reader.next()) {
      if (reader.field === 2) chunks.push(decodeChunk(reader.bytes()))
      else reader.skip()
    }
    return chunks
  },
}

function decodeChunk(bytes: Uint8Array): WireChunk {
  let [digest, size] = [EMPTY, 0n]
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) digest = reader.bytes()
    else if (reader.field === 2) size = reader.uint64()
    else reader.skip()
  }
  if (size > BLOB_BYTES_MAX) throw new ValidationError('SizeOverflow', `chunk of ${size} bytes`)
  return { digest: Digest.fromBytes(digest), size: Number(size) }
}

/** The digest that is to be read. */
export const readBlobRequest: Codec<Uint8Array> = {
  encode: encodeOnlyBytes,
  decode: (bytes) => decodeOnlyBytes(bytes) ?? EMPTY,
}

const DATA_TAG = 0x0a // field 1, length-delimited

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
  return decodeOnlyBytes(bytes) ?? EMPTY
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
  encode: (digest) => encodeOnlyBytes(digest.bytes),
  decode: (bytes) => Digest.fromBytes(decodeOnlyBytes(bytes) ?? EMPTY),
}

export interface GetDirectoryRequest {
  /** `undefined` where the request names nothing. */
  readonly digest: Uint8Array | undefined
  readonly recursive: boolean
}

export const getDirectoryRequest: Codec<GetDirectoryRequest> = {
  encode({ digest, recursive }) {
    const writer = new ProtoWriter()
    if (digest) writer.element(1, digest)
    writer.bool(2, recursive)
    return writer.finish()
  },
  decode(bytes) {
    let digest: Uint8Array | undefined
    let recursive = false
    const reader = new ProtoReader(view(bytes))
    while (reader.next()) {
      if (reader.field === 1) digest = reader.bytes()
      else if (reader.field === 2) recursive = reader.bool()
      else reader.skip()
    }
    return { digest, recursive }
  },
}

/** The digest of the root. */
export const putDirectoryResponse: Codec<Digest> = putBlobResponse

/** The output hash; `undefined` where the request names nothing. */
export const getPathInfoRequest: Codec<Uint8Array | undefined> = {
  encode(outputHash) {
    const writer = new ProtoWriter()
    if (outputHash) writer.element(1, outputHash)
    return writer.finish()
  },
  decode: decodeOnlyBytes,
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
  encode({ narSize, narSha256 }) {
    const writer = new ProtoWriter()
    writer.uint64(1, narSize)
    writer.bytes(2, narSha256)
    return writer.finish()
  },
  decode(bytes) {
    let [narSize, narSha256] = [0n, EMPTY]
    const reader = new ProtoReader(view(bytes))
    while (reader.next()) {
      if (reader.field === 1) narSize = reader.uint64()
      else if (reader.field === 2) narSha256 = reader.bytes()
      else reader.skip()
    }
    if (narSha256.length !== SHA256_BYTES)
      throw new ValidationError(
        `InvalidNarSha256DigestLen(${narSha256.length})`,
        `nar_sha256 has ${narSha256.length} bytes instead of ${SHA256_BYTES}`,
      )
    return { narSize, narSha256 }
  },
}

/** A message of nothing but bytes in field 1. */
function encodeOnlyBytes(bytes: Uint8Array): Uint8Array {
  const writer = new ProtoWriter()
  writer.bytes(1, bytes)
  return writer.finish()
}

/** `undefined` where they are not there; they are a view into the message. */
function decodeOnlyBytes(message: Uint8Array): Uint8Array | undefined {
  let bytes: Uint8Array | undefined
  const reader = new ProtoReader(view(message))
  while (reader.next()) {
    if (reader.field === 1) bytes = reader.bytes()
    else reader.skip()
  }
  return bytes
}
