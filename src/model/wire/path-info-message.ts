/**
 * The PathInfo message (spec §1.5) as it comes and goes, not validated. By hand, since it is what a mount is asked for first: putting
 * generated code together took longer than all else until a mount serves. `test/unit` compares it with the generated code.
 *
 *     PathInfo { 1: Node, 2: repeated bytes references, 3: NARInfo }     StorePath { 1: name, 2: digest }
 *     NARInfo { 1: nar_size, 2: nar_sha256, 3: repeated Signature, 4: repeated string reference_names, 5: StorePath deriver, 6: CA }
 *     Signature { 1: name, 2: data }     CA { 1: type, 2: digest }
 */
import { view } from '../../support/bytes.ts'
import { decodeRawNodeMessage, type RawNode } from '../castore/directory-codec.ts'
import { ProtoReader, ProtoWriter } from '../castore/proto.ts'

export interface PathInfoMessage {
  /** An encoded Node. */
  readonly node: Uint8Array
  readonly references: readonly Uint8Array[]
  readonly narinfo: NarInfoMessage
}

export interface NarInfoMessage {
  /** u64 */
  narSize: bigint
  narSha256: Uint8Array
  readonly signatures: SignatureMessage[]
  readonly referenceNames: string[]
  deriver: StorePathMessage | undefined
  ca: CaMessage | undefined
}

export interface SignatureMessage {
  name: string
  data: Uint8Array
}

export interface StorePathMessage {
  name: string
  digest: Uint8Array
}

export interface CaMessage {
  /** The number of the enum. */
  type: number
  digest: Uint8Array
}

/** What a message held; a sub-message that it did not hold is `undefined`. */
export interface DecodedPathInfo {
  hasNode: boolean
  /** `undefined` also where the Node is of no kind. */
  node: RawNode | undefined
  readonly references: Uint8Array[]
  narinfo: NarInfoMessage | undefined
}

const EMPTY = new Uint8Array(0)

/** The canonical encoding. */
export function encodePathInfoMessage({ node, references, narinfo }: PathInfoMessage): Uint8Array {
  const writer = new ProtoWriter()
  writer.element(1, node)
  for (const reference of references) writer.element(2, reference)
  writer.message(3, (inner) => writeNarInfo(inner, narinfo))
  return writer.finish()
}

function writeNarInfo(writer: ProtoWriter, narinfo: NarInfoMessage): void {
  const { narSize, narSha256, signatures, referenceNames, deriver, ca } = narinfo
  writer.uint64(1, narSize)
  writer.bytes(2, narSha256)
  for (const { name, data } of signatures) writer.message(3, (inner) => writeNamed(inner, name, data))
  for (const name of referenceNames) writer.element(4, Buffer.from(name, 'utf8'))
  if (deriver) writer.message(5, (inner) => writeNamed(inner, deriver.name, deriver.digest))
  if (ca)
    writer.message(6, (inner) => {
      inner.uint64(1, BigInt(ca.type))
      inner.bytes(2, ca.digest)
    })
}

function writeNamed(writer: ProtoWriter, name: string, bytes: Uint8Array): void {
  writer.bytes(1, Buffer.from(name, 'utf8'))
  writer.bytes(2, bytes)
}

/**
 * Throws ValidationError `Malformed`. Bytes are views into the message. A sub-message that comes in several parts is all of them, the
 * later over the earlier, as protobuf has it.
 */
export function decodePathInfoMessage(bytes: Uint8Array): DecodedPathInfo {
  const decoded: DecodedPathInfo = { hasNode: false, node: undefined, references: [], narinfo: undefined }
  const reader = new ProtoReader(view(bytes))
  while (reader.next()) {
    if (reader.field === 1) {
      decoded.hasNode = true
      decoded.node = decodeRawNodeMessage(reader.bytes(), decoded.node)
    } else if (reader.field === 2) decoded.references.push(reader.bytes())
    else if (reader.field === 3) decoded.narinfo = decodeNarInfo(reader.bytes(), decoded.narinfo)
    else reader.skip()
  }
  return decoded
}

function decodeNarInfo(bytes: Uint8Array, earlier: NarInfoMessage | undefined): NarInfoMessage {
  const narinfo: NarInfoMessage = earlier ?? {
    narSize: 0n,
    narSha256: EMPTY,
    signatures: [],
    referenceNames: [],
    deriver: undefined,
    ca: undefined,
  }
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) narinfo.narSize = reader.uint64()
    else if (reader.field === 2) narinfo.narSha256 = reader.bytes()
    else if (reader.field === 3) narinfo.signatures.push(decodeSignature(reader.bytes()))
    else if (reader.field === 4) narinfo.referenceNames.push(reader.string())
    else if (reader.field === 5) narinfo.deriver = decodeStorePath(reader.bytes(), narinfo.deriver)
    else if (reader.field === 6) narinfo.ca = decodeCa(reader.bytes(), narinfo.ca)
    else reader.skip()
  }
  return narinfo
}

function decodeSignature(bytes: Uint8Array): SignatureMessage {
  const signature: SignatureMessage = { name: '', data: EMPTY }
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) signature.name = reader.string()
    else if (reader.field === 2) signature.data = reader.bytes()
    else reader.skip()
  }
  return signature
}

function decodeStorePath(bytes: Uint8Array, earlier: StorePathMessage | undefined): StorePathMessage {
  const storePath = earlier ?? { name: '', digest: EMPTY }
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) storePath.name = reader.string()
    else if (reader.field === 2) storePath.digest = reader.bytes()
    else reader.skip()
  }
  return storePath
}

function decodeCa(bytes: Uint8Array, earlier: CaMessage | undefined): CaMessage {
  const ca = earlier ?? { type: 0, digest: EMPTY }
  const reader = new ProtoReader(bytes)
  while (reader.next()) {
    if (reader.field === 1) ca.type = reader.int32()
    else if (reader.field === 2) ca.digest = reader.bytes()
    else reader.skip()
  }
  return ca
}
