/** How entries of the index are kept: protobuf messages of our own, so that fields can be added. */
import { decodeAnonymousNode, encodeNodeMessage } from '../../model/castore/directory-codec.ts'
import type { Node } from '../../model/castore/node.ts'
import { ProtoReader, ProtoWriter } from '../../model/castore/proto.ts'
import { concatBytes, utf8, view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import type { PendingNarInfo, UploadedNar } from './interface.ts'

const SHA256_BYTES = 32

export function encodeNar(nar: UploadedNar): Uint8Array {
  const writer = new ProtoWriter()
  writer.bytes(1, encodeNodeMessage(new Uint8Array(0), nar.node))
  writer.bytes(2, nar.narSha256)
  writer.uint64(3, nar.narSize)
  writer.uint64(4, nar.fileSize)
  writer.bytes(5, utf8(nar.suffix))
  return writer.finish()
}

/** Throws `corrupt` for what is none. */
export function decodeNar(bytes: Uint8Array): UploadedNar {
  let node: Node | undefined
  let narSha256: Uint8Array | undefined
  let narSize = 0n
  let fileSize = 0n
  let suffix = ''
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) node = decodeAnonymousNode(reader.bytes())
    else if (reader.field === 2) narSha256 = reader.bytes()
    else if (reader.field === 3) narSize = reader.uint64()
    else if (reader.field === 4) fileSize = reader.uint64()
    else if (reader.field === 5) suffix = view(reader.bytes()).toString('latin1')
    else reader.skip()
  }
  if (!node || narSha256?.length !== SHA256_BYTES)
    throw new StoreError('corrupt', 'an entry of the NAR index has no node, or no hash')
  return { node, narSha256, narSize, fileSize, suffix }
}

/** Those that wait for one file stand together. */
export function pendingKey({
  awaited,
  outputHash,
}: Pick<PendingNarInfo, 'awaited' | 'outputHash'>): Uint8Array {
  return concatBytes([awaited, outputHash])
}

export function encodePending({ document, storedAt }: PendingNarInfo): Uint8Array {
  const writer = new ProtoWriter()
  writer.bytes(1, document)
  writer.uint64(2, BigInt(storedAt))
  return writer.finish()
}

export function decodePending(key: Uint8Array, bytes: Uint8Array): PendingNarInfo {
  let document: Uint8Array = new Uint8Array(0)
  let storedAt = 0
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) document = reader.bytes()
    else if (reader.field === 2) storedAt = Number(reader.uint64())
    else reader.skip()
  }
  return { awaited: key.slice(0, SHA256_BYTES), outputHash: key.slice(SHA256_BYTES), document, storedAt }
}
