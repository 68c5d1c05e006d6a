/**
 * What must hold before a path info that came with a NAR becomes visible. A path info only claims; here it is held
 * against what was ingested.
 */
import { createHash, type Hash } from 'node:crypto'
import type { Node } from '../model/castore/node.ts'
import { ValidationError } from '../model/castore/validation-error.ts'
import { type ContentAddress, printContentAddress } from '../model/nix/content-address.ts'
import { type HashAlgorithm, printNixHash } from '../model/nix/nix-hash.ts'
import { encodeNixbase32 } from '../model/nix/nixbase32.ts'
import type { PathInfo } from '../model/nix/path-info.ts'
import type { StorePath } from '../model/nix/store-path.ts'
import { contentAddressedPath } from '../model/nix/store-path-calculation.ts'
import type { IngestedNar } from '../services/pathinfos/interface.ts'
import { equalBytes, utf8 } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { MissingError, StoreError } from '../support/errors.ts'
import { localNarCalculation } from './nar-calculation.ts'
import { type Contents, renderNar } from './render-nar.ts'

/** The part of a narinfo or path info that the NAR can prove or disprove. */
export type NarClaim = Pick<PathInfo, 'storePath' | 'narSha256' | 'narSize' | 'references' | 'ca'>

/**
 * Throws ValidationError unless the claim fits the NAR: `NarSizeMismatch`, `NarHashMismatch`, `StorePathMismatch` for a
 * path that its content address does not lead to, `ContentAddressMismatch` for contents that have another one,
 * `DuplicateReference`. Reads contents again where `ingested` does not hold the digest that is needed.
 */
export async function checkPathInfo(
  services: Contents,
  claim: NarClaim,
  ingested: IngestedNar,
  call?: Call,
): Promise<void> {
  if (claim.narSize !== ingested.narSize)
    throw wrong(
      claim,
      'NarSizeMismatch',
      `NarSize is ${claim.narSize}, but the NAR has ${ingested.narSize} bytes`,
    )
  if (!equalBytes(claim.narSha256, ingested.narSha256))
    throw wrong(
      claim,
      'NarHashMismatch',
      `NarHash is ${sha256Text(claim.narSha256)}, but the NAR has ${sha256Text(ingested.narSha256)}`,
    )
  checkReferences(claim)
  if (claim.ca) await checkContentAddress(services, claim, claim.ca, ingested, call)
}

/** Reads all of a path. Throws `corrupt` when its contents do not have the content address that it claims. */
export async function proveContentAddress(
  services: Contents,
  pathInfo: PathInfo,
  call?: Call,
): Promise<void> {
  const nar = await localNarCalculation(services).calculateNar(pathInfo.node, call)
  try {
    await checkPathInfo(services, pathInfo, { ...nar, node: pathInfo.node }, call)
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    throw new StoreError('corrupt', error.message, { cause: error })
  }
}

function checkReferences({ storePath, references }: NarClaim): void {
  const seen = new Set<string>()
  for (const reference of references) {
    const basename = reference.toString()
    if (seen.has(basename))
      throw new ValidationError(
        'DuplicateReference',
        `${storePath}: the reference ${basename} is listed twice`,
      )
    seen.add(basename)
  }
}

async function checkContentAddress(
  services: Contents,
  claim: NarClaim,
  ca: ContentAddress,
  ingested: IngestedNar,
  call?: Call,
): Promise<void> {
  const selfReference = claim.references.some((reference) => reference.compare(claim.storePath) === 0)
  const references = claim.references.filter((reference) => reference.compare(claim.storePath) !== 0)
  const path = addressedPath(claim, ca, references, selfReference)
  if (path.compare(claim.storePath) !== 0)
    throw wrong(claim, 'StorePathMismatch', `its content address ${printContentAddress(ca)} leads to ${path}`)
  const found = await contentDigest(services, claim, ca, ingested, selfReference, call)
  if (!found)
    throw wrong(
      claim,
      'ContentAddressMismatch',
      `${printContentAddress(ca)} is for a file that is not executable`,
    )
  if (!equalBytes(found, ca.digest))
    throw wrong(
      claim,
      'ContentAddressMismatch',
      `its content address is ${printContentAddress(ca)}, but the contents have ${printContentAddress({ ...ca, digest: found })}`,
    )
}

function addressedPath(
  claim: NarClaim,
  ca: ContentAddress,
  references: readonly StorePath[],
  selfReference: boolean,
): StorePath {
  try {
    return contentAddressedPath(claim.storePath.name, ca, { references, selfReference })
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    throw new ValidationError(error.variant, `${claim.storePath}: ${error.message}`, { cause: error })
  }
}

/** `undefined` when the contents cannot have such an address. */
async function contentDigest(
  services: Contents,
  claim: NarClaim,
  ca: ContentAddress,
  ingested: IngestedNar,
  selfReference: boolean,
  call?: Call,
): Promise<Uint8Array | undefined> {
  if (selfReference)
    return await selfReferringDigest(services, claim.storePath, ca.algorithm, ingested.node, call)
  if (ca.kind === 'nar' && ca.algorithm === 'sha256') return ingested.narSha256
  return ingested.contentDigest ?? (await readContentDigest(services, ca, ingested, call))
}

/** For who learns of the content address only after the NAR: uploads come in any order. */
async function readContentDigest(
  services: Contents,
  ca: ContentAddress,
  { node }: IngestedNar,
  call?: Call,
): Promise<Uint8Array | undefined> {
  const hash = createHash(ca.algorithm)
  if (ca.kind === 'nar') return await digestOf(renderNar(services, node, call), hash)
  if (node.kind !== 'file' || node.executable) return undefined
  const contents = await services.blobs.openRead(node.digest, call)
  if (!contents) throw new MissingError(`blob ${node.digest}`)
  return await digestOf(contents, hash)
}

/**
 * Contents that mention their own path cannot be hashed before the path is known. So Nix hashes them with zeros in the
 * place of the path's digest, followed by `|<offset>` for every place.
 */
export async function selfReferringDigest(
  services: Contents,
  storePath: StorePath,
  algorithm: HashAlgorithm,
  node: Node,
  call?: Call,
): Promise<Uint8Array> {
  const own = utf8(encodeNixbase32(storePath.digest))
  const zeros = new Uint8Array(own.length)
  const hash = createHash(algorithm)
  const offsets: number[] = []
  // What may be the beginning of a mention waits for the next piece.
  let held = Buffer.alloc(0)
  let offset = 0
  for await (const piece of renderNar(services, node, call)) {
    const bytes = Buffer.concat([held, piece])
    for (let at = bytes.indexOf(own); at >= 0; at = bytes.indexOf(own, at + own.length)) {
      bytes.set(zeros, at)
      offsets.push(offset + at)
    }
    const ready = Math.max(0, bytes.length - (own.length - 1))
    hash.update(bytes.subarray(0, ready))
    held = bytes.subarray(ready)
    offset += ready
  }
  hash.update(held)
  for (const at of offsets) hash.update(`|${at}`)
  return hash.digest()
}

async function digestOf(contents: AsyncIterable<Uint8Array>, hash: Hash): Promise<Uint8Array> {
  for await (const piece of contents) hash.update(piece)
  return hash.digest()
}

function wrong({ storePath }: NarClaim, variant: string, what: string): ValidationError {
  return new ValidationError(variant, `${storePath}: ${what}`)
}

function sha256Text(digest: Uint8Array): string {
  return printNixHash({ algorithm: 'sha256', digest })
}
