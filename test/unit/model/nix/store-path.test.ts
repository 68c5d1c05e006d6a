import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { STORE_DIR, StorePath } from '../../../../src/model/nix/store-path.ts'
import { hex, utf8 } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

interface Case {
  s: string
  name?: string
  digest_hex?: string
  error: string
  path: string
}
const { store_path } = vectors
const DIGEST = '00bgd045z0d4icpbc2yyz4gx48ak44la'
const VARIANTS = /^(InvalidLength|MissingDash|InvalidHashEncoding|InvalidName|MissingStoreDir)$/

describe('basenames', () => {
  test.each(store_path.valid as Case[])('$s', ({ s, name, digest_hex }) => {
    for (const path of [StorePath.parse(s), StorePath.parse(utf8(s))]) {
      expect(path.name).toBe(name ?? s.slice(33))
      if (digest_hex !== undefined) expect(hex(path.digest)).toBe(digest_hex)
      expect(path.toString()).toBe(s)
      expect(StorePath.fromParts(path.digest, path.name).absolutePath).toBe(`${STORE_DIR}/${s}`)
    }
  })

  test.each(store_path.invalid as Case[])('$s is refused', ({ s, error }) => {
    const [named] = /^(InvalidLength|InvalidHashEncoding|MissingDash)(?![^(]*or)/.exec(error) ?? []
    const variant = named ?? expect.stringMatching(VARIANTS)
    expect(() => StorePath.parse(s)).toThrow(expect.objectContaining({ code: 'invalid-argument', variant }))
  })

  test.each([
    [`${DIGEST}-`, 'InvalidLength'],
    [`${DIGEST}-a/b`, 'InvalidName'],
    [`${DIGEST}-a\0`, 'InvalidName'],
    [`${DIGEST}-ä`, 'InvalidName'],
    [`${DIGEST}-a\n`, 'InvalidName'],
    ['', 'InvalidLength'],
  ])('%j is %s', (text, variant) => {
    expect(() => StorePath.parse(text)).toThrow(expect.objectContaining({ variant }))
    expect(() => StorePath.parse(utf8(text))).toThrow(expect.objectContaining({ variant }))
  })

  test('parts are checked', () => {
    expect(() => StorePath.fromParts(new Uint8Array(19), 'a')).toThrow('20 bytes')
    expect(() => StorePath.fromParts(new Uint8Array(20), '')).toThrow(
      expect.objectContaining({ variant: 'InvalidLength' }),
    )
    expect(() => StorePath.fromParts(new Uint8Array(20), 'a b')).toThrow(
      expect.objectContaining({ variant: 'InvalidName' }),
    )
  })
})

describe('absolute paths', () => {
  test.each(store_path.absolute_valid as Case[])('$s', ({ s, path }) => {
    const { storePath, rest } = StorePath.fromAbsolutePathFull(s)
    expect(storePath.toString()).toBe(store_path.valid[0].s)
    expect(rest).toBe(path)
  })

  test.each(store_path.absolute_invalid as Case[])('$s is $error', ({ s, error }) => {
    expect(() => StorePath.fromAbsolutePath(s)).toThrow(expect.objectContaining({ variant: error }))
    expect(() => StorePath.fromAbsolutePathFull(s)).toThrow(expect.objectContaining({ variant: error }))
  })

  test('a path into a store path is not a store path', () => {
    expect(() => StorePath.fromAbsolutePath(store_path.absolute_valid[2].s)).toThrow(
      expect.objectContaining({ variant: 'InvalidName' }),
    )
  })

  test('one store directory only', () => {
    expect(() => StorePath.fromAbsolutePath(`/nix/store2/${store_path.valid[0].s}`)).toThrow(
      expect.objectContaining({ variant: 'MissingStoreDir' }),
    )
  })
})

describe('order', () => {
  test('the vectors ascend', () => {
    const paths = (store_path.strictly_ascending_order as string[]).map((path) =>
      StorePath.fromAbsolutePath(path),
    )
    for (let i = 1; i < paths.length; i++) {
      expect(paths[i - 1]!.compare(paths[i]!)).toBeLessThan(0)
      expect(paths[i]!.compare(paths[i - 1]!)).toBeGreaterThan(0)
    }
    expect(paths[0]!.compare(StorePath.parse(paths[0]!.toString()))).toBe(0)
  })

  test('it is the order of the texts', () => {
    const path = fc
      .tuple(
        fc.uint8Array({ minLength: 20, maxLength: 20, max: 3 }),
        fc.stringMatching(/^[A-Za-z0-9+\-_?=.]{1,5}$/),
      )
      .map(([digest, name]) => StorePath.fromParts(digest, name))
    fc.assert(
      fc.property(path, path, (a, b) => {
        const [x, y] = [a.toString(), b.toString()]
        expect(Math.sign(a.compare(b))).toBe(x < y ? -1 : x > y ? 1 : 0)
      }),
    )
  })
})

test('mutated store paths are refused with an error of their own, or come back as they are', () => {
  const seed = store_path.valid[0].s as string
  fc.assert(
    fc.property(fc.nat(seed.length - 1), fc.nat(255), (at, byte) => {
      const bytes = new Uint8Array(utf8(seed))
      bytes[at] = byte
      try {
        expect(Buffer.from(StorePath.parse(bytes).toString())).toEqual(Buffer.from(bytes))
      } catch (error) {
        expect(error).toMatchObject({ variant: expect.stringMatching(VARIANTS) })
      }
    }),
  )
})
