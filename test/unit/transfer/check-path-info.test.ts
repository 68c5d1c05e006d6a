import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ContentAddress } from '../../../src/model/nix/content-address.ts'
import type { HashAlgorithm } from '../../../src/model/nix/nix-hash.ts'
import { StorePath } from '../../../src/model/nix/store-path.ts'
import { contentAddressedPath } from '../../../src/model/nix/store-path-calculation.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { checkPathInfo, type NarClaim } from '../../../src/transfer/check-path-info.ts'
import { ingestNar } from '../../../src/transfer/ingest-nar.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { collect } from '../../support/collect.ts'
import { type RandomTree, storeTree } from '../../support/random-trees.ts'

const CONTENTS = utf8('the contents of a file\n')
const FILE: RandomTree = { kind: 'file', contents: CONTENTS, executable: false }
const EXECUTABLE: RandomTree = { ...FILE, executable: true }
const DIRECTORY: RandomTree = { kind: 'directory', entries: [[utf8('a'), FILE]] }
const REFERENCE = StorePath.parse('dxwkwjzdaq7ka55pkk252gh32bgpmql4-foo')

async function stored(tree: RandomTree, ca?: ContentAddress) {
  const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
  const nar = Buffer.concat(await collect(renderNar(services, await storeTree(services, tree))))
  async function* source() {
    yield nar
  }
  return { services, nar, ingested: await ingestNar(services, source(), { contentAddress: ca }) }
}

type Kind = ContentAddress['kind']

const addressOf = (kind: Kind, algorithm: HashAlgorithm, bytes: Uint8Array): ContentAddress => ({
  kind,
  algorithm,
  digest: createHash(algorithm).update(bytes).digest(),
})

/** A claim that holds, for the tree by that address. */
async function claimFor(
  tree: RandomTree,
  kind: Kind,
  algorithm: HashAlgorithm,
  references: StorePath[] = [],
) {
  const { services, nar, ingested } = await stored(tree)
  const ca = addressOf(kind, algorithm, kind === 'nar' ? nar : CONTENTS)
  const claim: NarClaim = {
    storePath: contentAddressedPath('name', ca, { references }),
    narSha256: ingested.narSha256,
    narSize: ingested.narSize,
    references,
    ca,
  }
  return { services, ingested, claim }
}

const variantOf = (promise: Promise<void>) =>
  promise.then(
    () => 'fine',
    (error) => error.variant ?? error,
  )

describe('a claim that holds', () => {
  test.each([
    ['nar', 'sha256', DIRECTORY],
    ['nar', 'sha1', DIRECTORY],
    ['nar', 'sha512', DIRECTORY],
    ['nar', 'sha256', EXECUTABLE],
    ['flat', 'md5', FILE],
    ['flat', 'sha256', FILE],
    ['flat', 'sha512', FILE],
    ['text', 'sha256', FILE],
  ] as const)('%s by %s', async (kind, algorithm, tree) => {
    const { services, ingested, claim } = await claimFor(tree, kind, algorithm)
    expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('fine')
    // The same with the digest that was computed on the way, and nothing to read it from.
    const again = await stored(tree, claim.ca)
    const none = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    expect(await variantOf(checkPathInfo(none, claim, again.ingested))).toBe('fine')
  })

  test.each(['nar', 'text'] as const)('%s by sha256, with references', async (kind) => {
    const { services, ingested, claim } = await claimFor(FILE, kind, 'sha256', [REFERENCE])
    expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('fine')
  })

  test('without a content address, whatever its name', async () => {
    const { services, ingested, claim } = await claimFor(DIRECTORY, 'nar', 'sha256')
    const other = { ...claim, ca: undefined, storePath: REFERENCE, references: [REFERENCE] }
    expect(await variantOf(checkPathInfo(services, other, ingested))).toBe('fine')
  })
})

describe('a claim that does not hold', () => {
  test.each<[string, string, (claim: NarClaim) => Partial<NarClaim>]>([
    ['another size', 'NarSizeMismatch', (claim) => ({ narSize: claim.narSize + 1n })],
    ['another hash', 'NarHashMismatch', () => ({ narSha256: new Uint8Array(32) })],
    ['another name', 'StorePathMismatch', () => ({ storePath: REFERENCE })],
    ['a reference that the name does not know', 'StorePathMismatch', () => ({ references: [REFERENCE] })],
    ['a reference twice', 'DuplicateReference', () => ({ references: [REFERENCE, REFERENCE] })],
  ])('%s', async (_, variant, change) => {
    const { services, ingested, claim } = await claimFor(DIRECTORY, 'nar', 'sha256')
    const error = await checkPathInfo(services, { ...claim, ...change(claim) }, ingested).catch((e) => e)
    expect(error).toMatchObject({ code: 'invalid-argument', variant })
  })

  test.each([
    ['nar', 'sha256'],
    ['nar', 'sha1'],
    ['flat', 'sha512'],
    ['text', 'sha256'],
  ] as const)(
    'contents of another %s %s address, under the name of that address',
    async (kind, algorithm) => {
      const { services, ingested, claim } = await claimFor(FILE, kind, algorithm)
      const ca = addressOf(kind, algorithm, utf8('other contents'))
      const false_ = { ...claim, ca, storePath: contentAddressedPath('name', ca) }
      expect(await variantOf(checkPathInfo(services, false_, ingested))).toBe('ContentAddressMismatch')
    },
  )

  test.each([
    ['a directory', DIRECTORY],
    ['an executable', EXECUTABLE],
  ])('%s is not addressed by the contents of a file', async (_, tree) => {
    for (const kind of ['flat', 'text'] as const) {
      const { services, ingested, claim } = await claimFor(tree, kind, 'sha256')
      expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('ContentAddressMismatch')
    }
  })

  test('references where the address has no place for them', async () => {
    const { services, ingested, claim } = await claimFor(FILE, 'flat', 'sha256')
    const referring = { ...claim, references: [REFERENCE] }
    expect(await variantOf(checkPathInfo(services, referring, ingested))).toBe('ReferencesNotAllowed')
  })
})
