import { describe, expect, it } from 'vitest'
import { pathComponent, pathComponentFault } from '../../../../src/model/castore/path-component.ts'
import { symlinkTarget, symlinkTargetFault } from '../../../../src/model/castore/symlink-target.ts'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import { vectors } from '../../../support/vectors.ts'

interface InvalidVector {
  readonly bytes_hex?: string
  readonly bytes?: string
  readonly error: string
}

/** Some vectors are told in words: `'X' repeated 500 times`. */
function bytesOf(vector: InvalidVector): Uint8Array {
  if (vector.bytes_hex !== undefined) return Buffer.from(vector.bytes_hex, 'hex')
  const [, letter, count] = /^'(.)' repeated (\d+) times$/.exec(vector.bytes!)!
  return Buffer.alloc(Number(count), letter)
}

describe('a path component', () => {
  for (const vector of vectors.path_component.invalid as InvalidVector[])
    it(`is refused as ${vector.error}: ${vector.bytes_hex ?? vector.bytes}`, () => {
      expect(pathComponentFault(bytesOf(vector))?.variant).toBe(vector.error)
      expect(() => pathComponent(bytesOf(vector))).toThrow(ValidationError)
    })

  it('may be any other bytes', () => {
    const valid = ['aa', '...', '..a', '.keep', ' ', '\n', 'ä'].map((name) => Buffer.from(name))
    for (const bytes of [...valid, Buffer.from('c5c4d6', 'hex'), Buffer.alloc(255, 'X')])
      expect(pathComponent(bytes)).toBe(bytes)
  })

  it('is checked in the order of the specification', () => {
    expect(pathComponentFault(Buffer.alloc(256, '/'))?.variant).toBe('TooLong')
    expect(pathComponentFault(Buffer.from('/\0'))?.variant).toBe('Null')
  })
})

describe('a symlink target', () => {
  for (const vector of vectors.symlink_target.invalid as InvalidVector[])
    it(`is refused as ${vector.error}: ${vector.bytes_hex ?? vector.bytes}`, () => {
      expect(symlinkTargetFault(bytesOf(vector))?.variant).toBe(vector.error)
      expect(() => symlinkTarget(bytesOf(vector))).toThrow(ValidationError)
    })

  for (const bytes_hex of vectors.symlink_target.valid_hex as string[])
    it(`may be ${bytes_hex}`, () => {
      const bytes = Buffer.from(bytes_hex, 'hex')
      expect(symlinkTarget(bytes)).toBe(bytes)
    })

  it('may have 4095 bytes and no more', () => {
    expect(symlinkTargetFault(Buffer.alloc(4095, 'X'))).toBeUndefined()
    expect(symlinkTargetFault(Buffer.alloc(4096, 'X'))?.variant).toBe('TooLong')
  })
})
