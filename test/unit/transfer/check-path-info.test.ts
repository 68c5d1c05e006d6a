import { createHash } from 'node:crypto'
import { describe, expect, it, test } from 'vitest'
import { type ContentAddress, parseContentAddress } from '../../../src/model/nix/content-address.ts'
import type { HashAlgorithm } from '../../../src/model/nix/nix-hash.ts'
import { StorePath } from '../../../src/model/nix/store-path.ts'
import { contentAddressedPath } from '../../../src/model/nix/store-path-calculation.ts'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import { hex, utf8 } from '../../../src/support/bytes.ts'
import { READ_BUFFER_BYTES, SMALL_BLOB_BYTES_MAX } from '../../../src/support/limits.ts'
import {
  checkPathInfo,
  type NarClaim,
  proveContentAddress,
  selfReferringDigest,
} from '../../../src/transfer/check-path-info.ts'
import { ingestNar } from '../../../src/transfer/ingest-nar.ts'
import { renderNar } from '../../../src/transfer/render-nar.ts'
import { collect } from '../../support/collect.ts'
import { type RandomTree, storeTree } from '../../support/random-trees.ts'
import { vectors } from '../../support/vectors.ts'

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

describe('contents that mention their own path, as `nix store make-content-addressed` (2.8) made them', () => {
  const SELF = StorePath.parse('gqwif80w8pcwfa3c9ksrxhq8bar822ra-nar-self')
  const contents = utf8(`me: ${SELF.absolutePath} and ${SELF.absolutePath}\n`)
  const ca = parseContentAddress('fixed:r:sha256:0v3cc0ngg03jj7gz9a71clgzxm2lnqcxx979b2xi5k4zbs7bp5mi')
  const narSha256 = Buffer.from('CFsnW93kCACcgmX1jiisJ9EqYbn5FjTzlZuOGbkNYpA=', 'base64')
  const claim: NarClaim = { storePath: SELF, narSha256, narSize: 232n, references: [SELF], ca }

  test('hold', async () => {
    const { services, ingested } = await stored({ kind: 'file', contents, executable: false })
    expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('fine')
  })

  test('do not hold with another byte, nor without the reference to themselves', async () => {
    const other = Buffer.from(contents)
    other[0] = 0x4d
    const { services, ingested } = await stored({ kind: 'file', contents: other, executable: false })
    const changed = { ...claim, narSha256: ingested.narSha256 }
    expect(await variantOf(checkPathInfo(services, changed, ingested))).toBe('ContentAddressMismatch')
    const nameless = { ...changed, references: [] }
    expect(await variantOf(checkPathInfo(services, nameless, ingested))).toBe('StorePathMismatch')
  })

  test('hold when the mention is split between pieces of the NAR', async () => {
    // Large files are rendered in pieces; the path stands across the end of one.
    const before = READ_BUFFER_BYTES - 10
    const large = Buffer.alloc(2 * SMALL_BLOB_BYTES_MAX, 'x')
    const base32 = SELF.toString().slice(0, 32)
    large.write(base32, before, 'latin1')
    const { services, nar, ingested } = await stored({ kind: 'file', contents: large, executable: false })
    const zeroed = Buffer.from(nar)
    const at = zeroed.indexOf(base32)
    zeroed.fill(0, at, at + 32)
    const digest = createHash('sha256').update(zeroed).update(`|${at}`).digest()
    const address: ContentAddress = { kind: 'nar', algorithm: 'sha256', digest }
    const claimed = { ...claim, narSha256: ingested.narSha256, narSize: ingested.narSize, ca: address }
    // The name follows from the digest, which follows from the name: only the digest can be right here.
    const error = await checkPathInfo(services, claimed, ingested).catch((e) => e)
    expect(error.variant).toBe('StorePathMismatch')
    expect(hex(await selfReferringDigest(services, SELF, 'sha256', ingested.node))).toBe(hex(digest))
  })
})

describe('proving a content address', () => {
  it.each(['nar', 'flat'] as const)('reads the contents: %s', async (kind) => {
    const { services, ingested, claim } = await claimFor(FILE, kind, 'sha256')
    const pathInfo = { ...claim, node: ingested.node, signatures: [], deriver: undefined }
    await proveContentAddress(services, pathInfo)
    const other = await storeTree(services, { ...FILE, contents: utf8('the contents of a filf\n') })
    await expect(proveContentAddress(services, { ...pathInfo, node: other })).rejects.toMatchObject({
      code: 'corrupt',
    })
  })
})

describe('the vectors of nar.ingest_ca_checks', () => {
  const { ok, mismatch, type_mismatch } = vectors.nar.ingest_ca_checks_snix as Record<
    'ok' | 'mismatch' | 'type_mismatch',
    { nar: string; ca: string; digest_hex?: string }[]
  >
  const { complicated_sha512_hex, symlink_sha1_hex, helloworld_flat_md5_hex } = vectors.nar.extra_hashes
  const DIGESTS: Readonly<Record<string, string>> = {
    'complicated sha512': complicated_sha512_hex,
    'symlink sha1': symlink_sha1_hex,
    'helloworld md5': helloworld_flat_md5_hex,
  }

  /** A vector's NAR, and what a narinfo with such a content address says of it. */
  async function claimed({ nar: name, ca, digest_hex }: (typeof ok)[number]) {
    const nar = vectors.nar.valid.find((each: { name: string }) => each.name === name)
    const bytes = Buffer.from(nar.nar_b64, 'base64')
    const services = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
    const [kind = '', algorithm] = ca.split(' ') as [string, HashAlgorithm]
    const digest =
      digest_hex ?? DIGESTS[`${name} ${algorithm}`] ?? createHash(algorithm).update(bytes).digest('hex')
    const address: ContentAddress = {
      kind: kind.toLowerCase() as Kind,
      algorithm,
      digest: Buffer.from(digest, 'hex'),
    }
    async function* source() {
      yield bytes
    }
    const ingested = await ingestNar(services, source(), { contentAddress: address })
    const storePath = contentAddressedPath('name', address)
    return { services, ingested, claim: { ...ingested, storePath, references: [], ca: address } }
  }

  test.each(ok)('$nar by $ca', async (vector) => {
    const { services, ingested, claim } = await claimed(vector)
    expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('fine')
  })

  test.each([...mismatch, ...type_mismatch])('$nar by $ca is refused', async (vector) => {
    const { services, ingested, claim } = await claimed(vector)
    expect(await variantOf(checkPathInfo(services, claim, ingested))).toBe('ContentAddressMismatch')
  })
})
