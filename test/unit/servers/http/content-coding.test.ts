import { expect, test } from 'vitest'
import { negotiateCoding } from '../../../../src/servers/http/content-coding.ts'

test.each<[string | undefined, ReturnType<typeof negotiateCoding>]>([
  [undefined, undefined],
  ['', undefined],
  ['identity', undefined],
  ['gzip', 'gzip'],
  ['gzip, zstd', 'zstd'],
  ['GZIP', 'gzip'],
  ['zstd, br, gzip, deflate, bzip2, xz', 'zstd'],
  ['gzip;q=1.0, zstd;q=0.5', 'gzip'],
  ['zstd;q=0, gzip', 'gzip'],
  ['zstd;q=0', undefined],
  ['*', 'zstd'],
  ['zstd;q=0, *', 'gzip'],
  ['*;q=0', undefined],
  ['identity;q=1, gzip;q=0.5', undefined],
  ['identity;q=0.5, gzip', 'gzip'],
  ['gzip;q=nonsense', undefined],
  ['br, deflate', undefined],
])('%s', (header, expected) => {
  expect(negotiateCoding(header)).toBe(expected)
})
