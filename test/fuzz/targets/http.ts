/** What a client of the binary cache writes into its request: the path, and headers that are looked into. */
import { parseRange } from '../../../src/servers/http/byte-range.ts'
import { parseCachePath } from '../../../src/servers/http/cache-path.ts'
import { isKnown, mayServeRange } from '../../../src/servers/http/conditions.ts'
import { negotiateCoding } from '../../../src/servers/http/content-coding.ts'
import { Refusal } from '../../../src/servers/http/fault-reply.ts'
import { encodeNode, narUrl, parseNarUrl } from '../../../src/servers/http/nar-url.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { check, placeOf, type Target } from '../target.ts'

const SIZES = [0, 1, 1000, Number.MAX_SAFE_INTEGER]

function run(input: Uint8Array): string {
  const text = view(input).toString('latin1')
  const ranges = SIZES.map((size) => rangeOf(text, size))
  const [path = '', query = ''] = text.split('?', 2)
  const cachePath = parseCachePath(path)
  const nar = cachePath?.kind === 'castore-nar' ? narOf(cachePath.encoded, query) : ''
  const known = isKnown(text, 'tag') || mayServeRange(text, 'tag')
  return `${ranges} ${cachePath?.kind} ${nar} ${negotiateCoding(text)} ${known}`
}

function rangeOf(header: string, size: number): string {
  const range = parseRange(header, size)
  if (typeof range !== 'object') return String(range)
  const { start, end } = range
  check(Number.isSafeInteger(start) && Number.isSafeInteger(end), 'a range is of whole bytes')
  check(0 <= start && start < end && end <= size, `${start} to ${end} lies within ${size} bytes`)
  return start === 0 ? 'from the start' : 'from the middle'
}

function narOf(encoded: string, query: string): string {
  try {
    const { node, narSize } = parseNarUrl(encoded, new URLSearchParams(query))
    const url = narUrl(node, BigInt(narSize))
    check(url.startsWith(`nar/tvix-castore/${encodeNode(node)}?`), 'the URL of a node holds the node')
    return node.kind
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { status } = error.reply
    check(status >= 400 && status < 500, 'what a client wrote is its own fault')
    return `${status} ${placeOf(error)}`
  }
}

export const http: Target = {
  run,
  words: [
    'bytes=',
    '-',
    ',',
    '0',
    '9007199254740993',
    ' ',
    ';q=0.5',
    'zstd',
    'gzip',
    'identity',
    '*',
    'W/',
    '"tag"',
    '/nar/',
    'tvix-castore/',
    'snix-castore/',
    '.narinfo',
    '.ls',
    '.nar',
    '?narsize=',
    '%2e',
    '//',
  ].map((word) => utf8(word)),
  seeds: () =>
    [
      'bytes=0-99',
      'bytes=-5, 7-',
      'gzip;q=0.5, zstd, *;q=0',
      'W/"tag", "other"',
      '/nar/tvix-castore/CiQaIKRazP3s5CQWLtqfHKGGZBfMXQVzo9eRAjJpLONSVA6zGAA?narsize=1',
      `/nar/${'1'.repeat(52)}.nar.xz`,
      `/${'a'.repeat(32)}.narinfo`,
      '/nix-cache-info',
    ].map((text) => utf8(text)),
}
