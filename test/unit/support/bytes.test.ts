import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  compact,
  compareBytes,
  concatBytes,
  equalBytes,
  hex,
  printable,
  utf8,
  view,
} from '../../../src/support/bytes.ts'

const bytes = fc.uint8Array({ maxLength: 20 })

test('compares like memcmp, the shorter first', () => {
  const sorted = ['', '.keep', 'A', 'a', "a'", 'aa', 'keep'].map(utf8).concat(Uint8Array.of(0xff))
  expect([...sorted].reverse().sort(compareBytes)).toEqual(sorted)
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      expect(compareBytes(a, b)).toBe(-compareBytes(b, a) + 0)
      expect(compareBytes(a, b) === 0).toBe(equalBytes(a, b))
    }),
  )
})

test('joins parts into memory of its own', () => {
  const parts = [Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3)]
  const joined = concatBytes(parts)
  parts[0]![0] = 9
  expect([...joined]).toEqual([1, 2, 3])
  expect(concatBytes([])).toHaveLength(0)
})

test('views the same memory, at its offset', () => {
  const memory = Uint8Array.of(1, 2, 3, 4)
  const part = view(memory.subarray(1, 3))
  part[0] = 9
  expect([...memory]).toEqual([1, 9, 3, 4])
  expect(hex(memory.subarray(1, 3))).toBe('0903')
})

test('prints names as they are, and what could harm a terminal as numbers', () => {
  expect(printable(utf8('bash-5.2 ä 日本'))).toBe('bash-5.2 ä 日本')
  expect(printable(utf8('a\x1b[2Jb\n\x7f'))).toBe('a\\x1b[2Jb\\x0a\\x7f')
  expect(printable(utf8('\u009b'))).toBe('\\xc2\\x9b')
  expect(printable(Buffer.from('c5c4d6', 'hex'))).toBe('\\xc5\\xc4\\xd6')
  expect(printable(utf8('gnp.\u202egpj'))).toBe('gnp.\\xe2\\x80\\xaegpj')
})

test('never prints a control character', () => {
  fc.assert(
    fc.property(fc.oneof(bytes, fc.string({ unit: 'binary' }).map(utf8)), (name) => {
      expect(printable(name)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u)
    }),
    { numRuns: 1000 },
  )
})

test('compact keeps what fills its memory and copies a small view out of a large one', () => {
  const large = Buffer.alloc(1000, 7)
  expect(compact(large)).toBe(large)
  const view = large.subarray(10, 20)
  const own = compact(view)
  expect(own).toEqual(new Uint8Array(10).fill(7))
  expect(own.buffer.byteLength).toBe(10)
  large.fill(0)
  expect(own[0]).toBe(7)
})
