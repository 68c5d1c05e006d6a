/**
 * The PathInfo message (spec §1.5) from and to the model. Decoding applies the twelve rules of spec §1.10 in
 * their order; each has a variant under the name it has there.
 */
import { equalBytes, hex, printable } from '../../support/bytes.ts'
import { encodeNodeMessage, validateNodeMessage } from '../castore/directory-codec.ts'
import type { Node } from '../castore/node.ts'
import { pathComponent } from '../castore/path-component.ts'
import { ValidationError } from '../castore/validation-error.ts'
import type { ContentAddress } from '../nix/content-address.ts'
import type { PathInfo } from '../nix/path-info.ts'
import type { Signature } from '../nix/signature.ts'
import { StorePath } from '../nix/store-path.ts'
import {
  type CaMessage,
  type DecodedPathInfo,
  decodePathInfoMessage,
  encodePathInfoMessage,
  type SignatureMessage,
  type StorePathMessage,
} from './path-info-message.ts'
import type { Codec } from './rpc.ts'

const OUTPUT_HASH_BYTES = 20
const SHA256_BYTES = 32
const SIGNATURE_BYTES = 64
const HASH_BYTES = { md5: 16, sha1: 20, sha256: 32, sha512: 64 } as const

/** By the number of the enum NARInfo.CA.Hash. */
const CA_TYPES: readonly Pick<ContentAddress, 'kind' | 'algorithm'>[] = [
  { kind: 'nar', algorithm: 'sha256' },
  { kind: 'nar', algorithm: 'sha1' },
  { kind: 'nar', algorithm: 'sha512' },
  { kind: 'nar', algorithm: 'md5' },
  { kind: 'text', algorithm: 'sha256' },
  { kind: 'flat', algorithm: 'sha1' },
  { kind: 'flat', algorithm: 'md5' },
  { kind: 'flat', algorithm: 'sha256' },
  { kind: 'flat', algorithm: 'sha512' },
]

/** The canonical encoding: equal path infos give equal bytes. */
export function encodePathInfo(pathInfo: PathInfo): Uint8Array {
  const { storePath, node, references, narSize, narSha256, signatures, deriver, ca } = pathInfo
  const name = Buffer.from(storePath.toString(), 'latin1')
  return encodePathInfoMessage({
    node: encodeNodeMessage(name, node),
    references: references.map((reference) => reference.digest),
    narinfo: {
      narSize,
      narSha256,
      signatures: signatures.map(({ keyName, bytes }) => ({ name: keyName, data: bytes })),
      referenceNames: references.map((reference) => reference.toString()),
      deriver,
      ca: ca && { type: numberOf(ca), digest: ca.digest },
    },
  })
}

/** Throws ValidationError. The result keeps views into `bytes`. */
export function decodePathInfo(bytes: Uint8Array): PathInfo {
  const message = decodePathInfoMessage(bytes)
  const { narinfo } = message
  if (!narinfo) throw new ValidationError('NarInfoFieldMissing', 'The narinfo field is missing')
  const references = validateReferences(message.references, narinfo.referenceNames)
  const { storePath, node } = validateRootNode(message)
  const { narSize, narSha256 } = narinfo
  if (narSha256.length !== SHA256_BYTES)
    throw new ValidationError(
      `InvalidNarSha256DigestLen(${narSha256.length})`,
      `nar_sha256 has ${narSha256.length} bytes instead of ${SHA256_BYTES}`,
    )
  const deriver = validateDeriver(narinfo.deriver)
  const signatures = narinfo.signatures.map(validateSignature)
  const ca = validateCa(narinfo.ca)
  return { storePath, node, references, narSize, narSha256, signatures, deriver, ca }
}

export const pathInfoCodec: Codec<PathInfo> = { encode: encodePathInfo, decode: decodePathInfo }

function validateReferences(digests: readonly Uint8Array[], names: readonly string[]): StorePath[] {
  for (const [i, { length }] of digests.entries())
    if (length !== OUTPUT_HASH_BYTES)
      throw new ValidationError(
        `InvalidReferenceDigestLen(${i}, ${length})`,
        `reference ${i} has a digest of ${length} bytes instead of ${OUTPUT_HASH_BYTES}`,
      )
  if (digests.length !== names.length)
    throw new ValidationError(
      `InconsistentNumberOfReferences(${digests.length}, ${names.length})`,
      `there are ${digests.length} references but ${names.length} reference names`,
    )
  return names.map((name, i) => validateReference(i, name, digests[i]!))
}

function validateReference(i: number, name: string, digest: Uint8Array): StorePath {
  const path = attempt(
    () => StorePath.parse(Buffer.from(name, 'utf8')),
    () => [
      `InvalidNarinfoReferenceName(${i}, ${printableText(name)})`,
      `reference name ${i}, "${printableText(name)}", is not the base name of a store path`,
    ],
  )
  if (!equalBytes(path.digest, digest))
    throw new ValidationError(
      `InconsistentNarinfoReferenceNameDigest(${i}, ${hex(digest)}, ${hex(path.digest)})`,
      `reference ${i} has digest ${hex(digest)} but its name says ${hex(path.digest)}`,
    )
  return path
}

function validateRootNode(message: DecodedPathInfo): { storePath: StorePath; node: Node } {
  if (!message.hasNode) throw new ValidationError('NoNodePresent', 'No node present')
  const { name, node } = attempt(
    () => {
      const named = validateNodeMessage(message.node)
      pathComponent(named.name)
      return named
    },
    (fault) => [`InvalidRootNode(${fault.variant})`, `Invalid root node: ${fault.message}`],
  )
  const storePath = attempt(
    () => StorePath.parse(name),
    (fault) => [
      `InvalidNodeName("${printable(name)}", ${fault.variant})`,
      `Failed to parse ${printable(name)} as StorePath: ${fault.message}`,
    ],
  )
  return { storePath, node }
}

function validateDeriver(deriver: StorePathMessage | undefined): StorePath | undefined {
  if (!deriver) return undefined
  return attempt(
    () => StorePath.fromParts(deriver.digest, deriver.name),
    (fault) => [`InvalidDeriverField(${fault.variant})`, `The deriver is invalid: ${fault.message}`],
  )
}

function validateSignature({ name, data }: SignatureMessage, i: number): Signature {
  if (data.length !== SIGNATURE_BYTES)
    throw new ValidationError(
      `InvalidSignature(${i})`,
      `signature ${i} has ${data.length} bytes instead of ${SIGNATURE_BYTES}`,
    )
  return { keyName: name, bytes: data }
}

function validateCa(ca: CaMessage | undefined): ContentAddress | undefined {
  if (!ca) return undefined
  const type = CA_TYPES[ca.type]
  if (!type)
    throw new ValidationError(
      `InvalidCaField(UnknownHashType(${ca.type}))`,
      `The CA field is invalid: unknown hash type ${ca.type}`,
    )
  const expected = HASH_BYTES[type.algorithm]
  if (ca.digest.length !== expected)
    throw new ValidationError(
      `InvalidCaField(InvalidDigestLen(${ca.digest.length}))`,
      `The CA field is invalid: a digest of ${ca.digest.length} bytes instead of ${expected}`,
    )
  return { ...type, digest: ca.digest }
}

function numberOf({ kind, algorithm }: ContentAddress): number {
  const type = CA_TYPES.findIndex((each) => each.kind === kind && each.algorithm === algorithm)
  if (type < 0)
    throw new ValidationError(
      'InvalidCaField(UnknownHashType)',
      `a content address over ${kind} with ${algorithm} has no number in the protocol`,
    )
  return type
}

/** Runs a check; a broken rule is told again as the given variant and message. */
function attempt<T>(
  check: () => T,
  retell: (fault: ValidationError) => [variant: string, message: string],
): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    const [variant, message] = retell(error)
    throw new ValidationError(variant, message, { cause: error })
  }
}

function printableText(text: string): string {
  return printable(Buffer.from(text, 'utf8'))
}
