import { describe, expect, test } from 'vitest'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { fingerprint } from '../../../../src/model/nix/fingerprint.ts'
import { parseNarInfo } from '../../../../src/model/nix/narinfo-parser.ts'
import { renderNarInfo } from '../../../../src/model/nix/narinfo-renderer.ts'
import { narInfoOf, type PathInfo, pathInfoOf } from '../../../../src/model/nix/path-info.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

const DUMMY = StorePath.parse(vectors.pathinfo.dummy_path)
const SYMLINK_NAR = vectors.nar.valid[0]
const PATH_INFO_SYMLINK: PathInfo = {
  storePath: DUMMY,
  node: { kind: 'symlink', target: symlinkTarget(utf8('/nix/store/somewhereelse')) },
  references: [],
  narSize: BigInt(SYMLINK_NAR.nar_size),
  narSha256: Buffer.from(SYMLINK_NAR.nar_sha256_hex, 'hex'),
  signatures: [],
  deriver: undefined,
  ca: undefined,
}

describe('a path info as narinfo', () => {
  test.each([
    [0, 'nar/tvix-castore/GhoSGC9uaXgvc3RvcmUvc29tZXdoZXJlZWxzZQ?narsize=136', undefined],
    [1, 'nar/snix-castore/GhoSGC9uaXgvc3RvcmUvc29tZXdoZXJlZWxzZQ?narsize=136', 136n],
  ])('rendered as vector %i', (index, url, fileSize) => {
    const { text } = vectors.narinfo.rendered_pathinfo.cases[index]
    expect(renderNarInfo(narInfoOf(PATH_INFO_SYMLINK, { url, fileSize }))).toBe(text)
  })

  test('shows no signature whose key has a name that no key can have', () => {
    const bytes = new Uint8Array(64)
    const names = ['a\nURL: x', 'a b', '', 'a:b', 'cache-1']
    const signatures = names.map((keyName) => ({ keyName, bytes }))
    const text = renderNarInfo(narInfoOf({ ...PATH_INFO_SYMLINK, signatures }, { url: 'nar/x' }))
    expect(parseNarInfo(utf8(text)).signatures).toEqual([{ keyName: 'cache-1', bytes: Buffer.from(bytes) }])
  })

  test('and back, with the node that its NAR became', () => {
    const info = parseNarInfo(utf8(vectors.narinfo.samples[0].text))
    const { node } = PATH_INFO_SYMLINK
    const pathInfo = pathInfoOf(info, node)
    expect(pathInfo.node).toBe(node)
    const { url, compression, fileHash, fileSize } = info
    expect(narInfoOf(pathInfo, { url, compression, fileHash, fileSize })).toEqual(info)
  })
})

describe('fingerprints', () => {
  const [zero, symlink] = vectors.signatures.sign
  test('of a path that refers to itself', () => {
    const pathInfo = { ...PATH_INFO_SYMLINK, narSha256: new Uint8Array(32), narSize: 0n, references: [DUMMY] }
    expect(fingerprint(pathInfo)).toBe(zero.fingerprint)
  })

  test('of a path without references', () => {
    expect(fingerprint(PATH_INFO_SYMLINK)).toBe(symlink.fingerprint)
  })
})

test('the digest of the dummy path is zero', () => {
  expect(Buffer.from(DUMMY.digest).toString('hex')).toBe(vectors.pathinfo.dummy_path_digest_hex)
})
