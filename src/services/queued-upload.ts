import { Digest } from '../model/castore/digest.ts'
import { encodeNixbase32 } from '../model/nix/nixbase32.ts'
import { StoreError } from '../support/errors.ts'

/** What is to be sent; in this order within one import, so that far never refers to what it does not have. */
export type QueuedKind = 'blob' | 'directory' | 'pathInfo'

const KIND_BYTES: Readonly<Record<QueuedKind, number>> = { blob: 1, directory: 2, pathInfo: 3 }
const KINDS = new Map(Object.entries(KIND_BYTES).map(([kind, byte]) => [byte, kind as QueuedKind]))

/** One object as the tables of a queue have it: a byte for its kind, and the key that it has in its service. */
export function encodeUpload(kind: QueuedKind, key: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(KIND_BYTES[kind]), key])
}

export function kindOf(upload: Uint8Array): QueuedKind {
  const kind = KINDS.get(upload[0]!)
  if (!kind)
    throw new StoreError('corrupt', `a queue of uploads has an entry of the unknown kind ${upload[0]}`)
  return kind
}

export function keyOf(upload: Uint8Array): Uint8Array {
  return upload.subarray(1)
}

/** For messages: `blob b3:…`, `path info 0a1b…`. */
export function uploadName(kind: QueuedKind, key: Uint8Array): string {
  return kind === 'pathInfo' ? `path info ${encodeNixbase32(key)}` : `${kind} ${Digest.fromBytes(key)}`
}
