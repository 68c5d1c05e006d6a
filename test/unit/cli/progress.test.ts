import { expect, test } from 'vitest'
import { formatBytes, formatSeconds } from '../../../src/cli/progress.ts'

test.each([
  [0, '0 B'],
  [0.4, '0 B'],
  [1023, '1023 B'],
  [1024, '1.0 KiB'],
  [1536, '1.5 KiB'],
  [5 * 2 ** 30, '5.0 GiB'],
  [2 ** 60, '1024.0 PiB'],
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

test.each([
  [0.04, '0.0 s'],
  [59.94, '59.9 s'],
  [61, '1 min 1 s'],
  [119.7, '2 min 0 s'],
])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text))
