import { expect, test } from 'vitest'
import { formatBytes, formatCount } from '../../../src/support/format.ts'

test.each([
  [0, '0 B'],
  [0.4, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [5 * 2 ** 30, '5.0 GiB'],
  [2 ** 60, '1024.0 PiB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

test('counts have separators', () => expect(formatCount(1234567n)).toBe('1,234,567'))
