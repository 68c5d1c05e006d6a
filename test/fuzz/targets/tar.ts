/** Tars: the same events however they are cut into pieces, with paths that stay below the top and as many bytes as were told. */
import type { TarEvent, TarPath } from '../../../src/model/tar/event.ts'
import { TarParser } from '../../../src/model/tar/parser.ts'
import { equalBytes, utf8 } from '../../../src/support/bytes.ts'
import { tarEntry, tarOf, withChecksum } from '../../support/tar.ts'
import { parseInPieces, shapeOf } from '../pieces.ts'
import { check, type Target } from '../target.ts'

const BLOCK = 512

const PIECE_BYTES_MAX = 700

/** What a hole stands for is not written out. */
function fuzzTar(input: Uint8Array): string {
  const parsed = parseInPieces<TarEvent, TarParser>(
    checksummed(input),
    PIECE_BYTES_MAX,
    () => new TarParser(),
  )
  checkEvents(parsed.events, parsed.fault !== undefined)
  return shapeOf(parsed)
}

/** With the right checksum in each block that looks as if it had one, which mutations would never hit upon. */
function checksummed(input: Uint8Array): Uint8Array {
  const tar = Buffer.from(input)
  for (let at = 0; at + BLOCK <= tar.length; at += BLOCK)
    if (tar[at + 154] === 0 && tar[at + 155] === 0x20) withChecksum(tar.subarray(at, at + BLOCK))
  return tar
}

function checkEvents(events: readonly TarEvent[], isRefused: boolean): void {
  let missing: number | undefined
  for (const event of events) {
    if ('path' in event) checkPath(event.path)
    if (event.type === 'hard-link') checkPath(event.target)
    if (event.type === 'file') {
      check(missing === undefined, 'a file begins when the last one has ended')
      missing = event.size
    } else if (event.type === 'contents' || event.type === 'hole') {
      const size = event.type === 'hole' ? event.size : event.bytes.length
      check(size > 0 && missing !== undefined && size <= missing, 'a file has no more than its size')
      missing = missing! - size
    } else if (event.type === 'end-file') {
      check(missing === 0, 'a file has as much as its size')
      missing = undefined
    }
  }
  check(isRefused || missing === undefined, 'a tar that is accepted has ended its files')
}

function checkPath(path: TarPath): void {
  for (const name of path) {
    const isSafe = name.length >= 1 && name.length <= 255 && !name.includes(0) && !name.includes(0x2f)
    check(
      isSafe && !equalBytes(name, utf8('.')) && !equalBytes(name, utf8('..')),
      'names are path components',
    )
  }
}

const WORDS = [
  'GNU.sparse.',
  'major=1',
  'minor=0',
  'map=',
  '0,1',
  'realsize=',
  'path=',
  'linkpath=',
  'size=',
  '..',
  '/',
]
  .concat([
    '0',
    '1',
    '2',
    '5',
    'L',
    'K',
    'x',
    'g',
    'S',
    '\0',
    '\xff',
    '\x80',
    'ustar\x0000',
    'ustar  \0',
    '\n',
    ' ',
  ])
  .map((text) => new Uint8Array(Buffer.from(text, 'latin1')))

function tarSeeds(): Uint8Array[] {
  const sparse = (...pax: [string, string][]) => ({ path: 'a/s', contents: utf8('abc'), pax })
  return [
    tarOf({ path: 'a/', type: '5' }, { path: 'a/f', contents: utf8('contents') }),
    tarOf(
      { path: 'a/f', mode: 0o755 },
      { path: 'a/l', type: '2', link: 'f' },
      { path: 'a/h', type: '1', link: 'a/f' },
    ),
    tarOf({ path: `a/${'x'.repeat(200)}`, type: '2', link: 'y'.repeat(200) }),
    tarOf(sparse(['GNU.sparse.size', '9'], ['GNU.sparse.map', '2,1,5,2'])),
    tarOf(sparse(['GNU.sparse.size', '9'], ['GNU.sparse.offset', '1'], ['GNU.sparse.numbytes', '3'])),
    tarOf({
      ...sparse(['GNU.sparse.major', '1'], ['GNU.sparse.minor', '0'], ['GNU.sparse.realsize', '9']),
      contents: Buffer.concat([Buffer.from('1\n2\n3\n'.padEnd(BLOCK, '\0')), utf8('abc')]),
    }),
    oldSparse(),
  ]
}

function oldSparse(): Uint8Array {
  const entry = tarEntry({ path: 'a/s', type: 'S', contents: utf8('abc') })
  const octal = (value: number) => `${value.toString(8).padStart(11, '0')}\0`
  entry.write(octal(2) + octal(3), 386, 'latin1')
  entry.write(octal(9), 483, 'latin1')
  return Buffer.concat([withChecksum(entry.subarray(0, BLOCK)), entry.subarray(BLOCK), tarOf()])
}

export const tar: Target = { run: fuzzTar, words: WORDS, seeds: tarSeeds }
