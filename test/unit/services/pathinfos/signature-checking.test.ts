import { describe, expect, it } from 'vitest'
import type { ContentAddress } from '../../../../src/model/nix/content-address.ts'
import type { PathInfo } from '../../../../src/model/nix/path-info.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import {
  ContentAddressProofs,
  type ProveContentAddress,
} from '../../../../src/services/pathinfos/content-address-proofs.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import {
  type SignatureChecking,
  signatureCheckingPathInfoService,
} from '../../../../src/services/pathinfos/signature-checking.ts'
import { signed } from '../../../../src/services/pathinfos/signing.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { collect } from '../../../support/collect.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { makeSigningKey } from '../../../support/signing-keys.ts'

const [A, B, STRANGER] = [makeSigningKey('a-1'), makeSigningKey('b-1'), makeSigningKey('stranger-1')]
const UNSIGNED = makePathInfo('one', { signatures: [], references: [makePathInfo('two').storePath] })
const TRUSTED = signed(UNSIGNED, [A])
const CA: ContentAddress = { kind: 'nar', algorithm: 'sha256', digest: UNSIGNED.narSha256 }

async function holding(pathInfo: PathInfo, options: Partial<SignatureChecking> = {}) {
  const base = memoryPathInfoService()
  await base.put(pathInfo)
  const keys = [A.verifyingKey, B.verifyingKey]
  const checking = signatureCheckingPathInfoService(base, 'the cache', { keys, ...options })
  return {
    base,
    checking,
    get: () => checking.get(pathInfo.storePath.digest),
    list: () => collect(checking.list()),
  }
}

function proving(prove: ProveContentAddress) {
  return { contentAddresses: new ContentAddressProofs(prove) }
}

async function expectHidden(pathInfo: PathInfo, options?: Partial<SignatureChecking>) {
  const { get, list } = await holding(pathInfo, options)
  await expect(get()).rejects.toMatchObject({ code: 'corrupt' })
  expect(await list()).toEqual([])
}

async function expectShown(pathInfo: PathInfo, options?: Partial<SignatureChecking>) {
  const { get, list } = await holding(pathInfo, options)
  expect(await get()).toBe(pathInfo)
  expect(await list()).toEqual([pathInfo])
}

describe('checking signatures', () => {
  it('shows what a trusted key signed', () => expectShown(TRUSTED))

  it('shows what others signed besides', () => expectShown(signed(UNSIGNED, [STRANGER, B])))

  it('says who signed and who is trusted', async () => {
    const { get } = await holding(signed(UNSIGNED, [STRANGER]))
    await expect(get()).rejects.toThrow(
      `the cache: ${UNSIGNED.storePath} has no valid signature of a trusted key: it says to be signed by stranger-1; trusted are a-1, b-1`,
    )
  })

  const flipped = (bytes: Uint8Array) => bytes.map((byte, index) => (index === 0 ? byte ^ 1 : byte))
  const other = makePathInfo('three')
  it.each<[string, PathInfo]>([
    ['nothing', UNSIGNED],
    [
      'a bit of the signature',
      { ...TRUSTED, signatures: [{ keyName: 'a-1', bytes: flipped(TRUSTED.signatures[0]!.bytes) }] },
    ],
    ['the hash', { ...TRUSTED, narSha256: flipped(TRUSTED.narSha256) }],
    ['the size', { ...TRUSTED, narSize: TRUSTED.narSize + 1n }],
    ['the references', { ...TRUSTED, references: [] }],
    ['the path', { ...TRUSTED, storePath: other.storePath }],
    ['the name', { ...TRUSTED, storePath: StorePath.fromParts(TRUSTED.storePath.digest, 'other') }],
    ['the name of the key', { ...TRUSTED, signatures: [{ ...TRUSTED.signatures[0]!, keyName: 'b-1' }] }],
    ['the key behind the name', signed(UNSIGNED, [makeSigningKey('a-1', 'impostor')])],
  ])('hides what was signed with another one: %s', (_, pathInfo) => expectHidden(pathInfo))

  it('hides everything when no key is trusted', () => expectHidden(TRUSTED, { keys: [] }))

  it('counts distinct names of keys', async () => {
    await expectShown(signed(UNSIGNED, [A, B]), { minSignatures: 2 })
    await expectHidden(TRUSTED, { minSignatures: 2 })
    const [signature] = TRUSTED.signatures
    const twice = { ...TRUSTED, signatures: [signature!, signature!] }
    await expectHidden(twice, { keys: [A.verifyingKey, A.verifyingKey], minSignatures: 2 })
  })

  it('shows content-addressed paths only after they were recomputed', async () => {
    const claimed = { ...UNSIGNED, ca: CA }
    await expectHidden(claimed)
    await expectShown(
      claimed,
      proving(async () => {}),
    )
    const wrong = proving(async () => Promise.reject(new StoreError('corrupt', 'its contents are others')))
    await expectHidden(claimed, wrong)
    await expectHidden(
      UNSIGNED,
      proving(async () => {}),
    )
  })

  it('reads the contents of a content-addressed path once, and never to list it', async () => {
    let reads = 0
    const options = proving(async () => void reads++)
    const { get, list } = await holding({ ...UNSIGNED, ca: CA }, options)
    expect(await list()).toEqual([])
    await Promise.all([get(), get()])
    await get()
    expect(await list()).toHaveLength(1)
    expect(reads).toBe(1)
  })

  it('passes on that it could not be recomputed', async () => {
    const away = proving(async () => Promise.reject(new StoreError('unavailable', 'away')))
    const { get } = await holding({ ...UNSIGNED, ca: CA }, away)
    await expect(get()).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('stores only what it would show', async () => {
    const { checking, base } = await holding(makePathInfo('four'))
    await expect(checking.put(UNSIGNED)).rejects.toMatchObject({ code: 'denied' })
    expect(await base.get(UNSIGNED.storePath.digest)).toBeUndefined()
    expect(await checking.put(TRUSTED)).toBe(TRUSTED)
  })

  it('passes absence on', async () => {
    const { checking } = await holding(TRUSTED)
    expect(await checking.get(other.storePath.digest)).toBeUndefined()
  })
})
