import { expect, test } from 'vitest'
import { parseRange } from '../../../../src/servers/http/byte-range.ts'
import { HTTP_RANGES_MAX } from '../../../../src/support/limits.ts'

const SIZE = 100

test.each<[string, ReturnType<typeof parseRange>]>([
  ['bytes=0-0', { start: 0, end: 1 }],
  ['bytes=0-', { start: 0, end: 100 }],
  ['bytes=10-19', { start: 10, end: 20 }],
  ['bytes=99-', { start: 99, end: 100 }],
  ['bytes=90-1000', { start: 90, end: 100 }],
  ['bytes=-1', { start: 99, end: 100 }],
  ['bytes=-1000', { start: 0, end: 100 }],
  ['Bytes=1-2', { start: 1, end: 3 }],
  ['bytes=1-2, 5-6', { start: 1, end: 3 }],
  ['bytes=100-', 'unsatisfiable'],
  ['bytes=999999999999999-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=', undefined],
  ['bytes=-', undefined],
  ['bytes=5-4', undefined],
  ['bytes=a-b', undefined],
  ['bytes=1-2,', undefined],
  ['bytes=0x1-2', undefined],
  ['bytes=99999999999999999999-', 'unsatisfiable'],
  ['bytes=10-99999999999999999999', { start: 10, end: 100 }],
  ['bytes=-99999999999999999999', { start: 0, end: 100 }],
  ['items=0-1', undefined],
  ['0-1', undefined],
])('%s', (header, expected) => {
  expect(parseRange(header, SIZE)).toEqual(expected)
})

test('as many ranges as there may be, and one more', () => {
  const ranges = (count: number) => `bytes=${Array(count).fill('1-2').join(',')}`
  expect(parseRange(ranges(HTTP_RANGES_MAX), SIZE)).toEqual({ start: 1, end: 3 })
  expect(parseRange(ranges(HTTP_RANGES_MAX + 1), SIZE)).toBe('unsatisfiable')
  expect(parseRange(ranges(1_000), SIZE)).toBe('unsatisfiable')
})

test('nothing has no ranges', () => {
  expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable')
  expect(parseRange('bytes=-1', 0)).toBe('unsatisfiable')
})
