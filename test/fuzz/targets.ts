/** The parsers that are fuzzed, and what must hold of them. */

import { ValidationError } from '../../src/model/castore/validation-error.ts'
import type { NarEvent } from '../../src/model/nar/event.ts'
import { parseListing, printListing } from '../../src/model/nar/listing-json.ts'
import { NarParser } from '../../src/model/nar/parser.ts'
import { NarWriter } from '../../src/model/nar/writer.ts'
import { parseNarInfo } from '../../src/model/nix/narinfo-parser.ts'
import { renderNarInfo } from '../../src/model/nix/narinfo-renderer.ts'
import { parseNarFileName, parseNarInfoFileName } from '../../src/model/nix/nix-http.ts'
import { encodeNixbase32 } from '../../src/model/nix/nixbase32.ts'
import { compareBytes, concatBytes, equalBytes, utf8, view } from '../../src/support/bytes.ts'
import { vectors } from '../support/vectors.ts'
import { check, type Target } from './target.ts'
import { vhostUser } from './vhost-user.ts'

/** What `parse` gives, or the words for how it refused; anything but a ValidationError passes. */
function refusal<T>(parse: () => T): { readonly value: T } | { readonly words: string } {
  try {
    return { value: parse() }
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    // Without what is taken from the input; else every input would be news.
    const message = error.message.replace(/".*"/gs, '""').replace(/[0-9]+/g, '#')
    return { words: `${error.variant.replace(/[0-9]+/g, '#')}: ${message.split(' ').slice(0, 9).join(' ')}` }
  }
}

// — NAR —

interface ParsedNar {
  readonly events: NarEvent[]
  readonly fault: string | undefined
  readonly consumed: number
}

function parseInPieces(nar: Uint8Array, pieceBytes: number): ParsedNar {
  const parser = new NarParser()
  const events: NarEvent[] = []
  const outcome = refusal(() => {
    for (let at = 0; at < nar.length; at += pieceBytes)
      for (const event of parser.push(nar.subarray(at, at + pieceBytes))) {
        const last = events.at(-1)
        if (event.type === 'contents' && last?.type === 'contents')
          events[events.length - 1] = { type: 'contents', bytes: concatBytes([last.bytes, event.bytes]) }
        else events.push(event)
      }
    parser.finish()
  })
  return { events, fault: 'words' in outcome ? outcome.words : undefined, consumed: parser.consumed }
}

function sameEvent(a: NarEvent, b: NarEvent | undefined): boolean {
  if (a.type !== b?.type) return false
  if (a.type === 'entry' && b.type === 'entry') return equalBytes(a.name, b.name)
  if (a.type === 'symlink' && b.type === 'symlink') return equalBytes(a.target, b.target)
  if (a.type === 'contents' && b.type === 'contents') return equalBytes(a.bytes, b.bytes)
  if (a.type === 'file' && b.type === 'file') return a.size === b.size && a.executable === b.executable
  return true
}

function fuzzNar(input: Uint8Array): string {
  const whole = parseInPieces(input, Math.max(1, input.length))
  const pieceBytes = 1 + (((input[0] ?? 0) + input.length) % 40)
  const split = parseInPieces(input, pieceBytes)
  check(whole.fault === split.fault, `a NAR is refused for the same reason in pieces of ${pieceBytes}`)
  check(whole.events.length === split.events.length, 'a NAR has the same events in pieces')
  check(
    whole.events.every((event, i) => sameEvent(event, split.events[i])),
    'events are equal in pieces',
  )
  checkOrder(whole.events)
  if (whole.fault === undefined) {
    const writer = new NarWriter()
    for (const event of whole.events) writer.write(event)
    writer.finish()
    const written = concatBytes(writer.take())
    check(
      equalBytes(written, input.subarray(0, whole.consumed)),
      'an accepted NAR is the one that is written',
    )
  }
  const shape = whole.events.map(({ type }) => type[0]).join('')
  return `${whole.fault ?? 'accepted'} ${shape.slice(-4)} ${Math.ceil(Math.log2(shape.length + 1))}`
}

function checkOrder(events: readonly NarEvent[]): void {
  const open: (Uint8Array | undefined)[] = []
  for (const event of events) {
    if (event.type === 'directory') open.push(undefined)
    if (event.type === 'end-directory') open.pop()
    if (event.type !== 'entry') continue
    const previous = open.at(-1)
    check(!previous || compareBytes(previous, event.name) < 0, 'names are in order')
    const { name } = event
    const isSafe = name.length >= 1 && name.length <= 255 && !name.includes(0) && !name.includes(0x2f)
    check(isSafe && !['.', '..'].includes(view(name).toString('latin1')), 'names are single path components')
    open[open.length - 1] = name
  }
}

const NAR_WORDS = [
  'nix-archive-1',
  '(',
  ')',
  'type',
  'regular',
  'executable',
  'contents',
  'symlink',
  'target',
]
  .concat(['directory', 'entry', 'name', 'node', '', 'a', '.', '..'])
  .map((text) => narToken(text))

function narToken(text: string): Uint8Array {
  const token = Buffer.alloc(8 + Math.ceil(text.length / 8) * 8)
  token.writeUInt32LE(text.length)
  token.write(text, 8, 'latin1')
  return token
}

function narSeeds(): Uint8Array[] {
  const valid = (vectors.nar.valid as { nar_b64: string }[]).map(({ nar_b64 }) =>
    Buffer.from(nar_b64, 'base64'),
  )
  return [...valid, narOf(0), narOf(1), narOf(5), narOf(64), narOf(65)]
}

/** Nested directories around a file and a symlink. */
function narOf(depth: number): Uint8Array {
  const writer = new NarWriter()
  for (let i = 0; i < depth; i++) {
    writer.write({ type: 'directory' })
    writer.write({ type: 'entry', name: utf8('d') as never })
  }
  writer.write({ type: 'directory' })
  for (const [name, size] of [
    ['a', 0],
    ['b', 9],
    ['c', 16],
  ] as const) {
    writer.write({ type: 'entry', name: utf8(name) as never })
    writer.write({ type: 'file', executable: size === 9, size })
    writer.write({ type: 'contents', bytes: new Uint8Array(size).fill(0x61) })
    writer.write({ type: 'end-file' })
  }
  writer.write({ type: 'entry', name: utf8('l') as never })
  writer.write({ type: 'symlink', target: utf8('../target') as never })
  for (let i = 0; i <= depth; i++) writer.write({ type: 'end-directory' })
  return concatBytes(writer.take())
}

// — narinfo —

function fuzzNarInfo(input: Uint8Array): string {
  const outcome = refusal(() => parseNarInfo(input))
  if ('words' in outcome) return outcome.words
  const rendered = renderNarInfo(outcome.value)
  const again = refusal(() => parseNarInfo(utf8(rendered)))
  check('value' in again, 'a narinfo that is rendered can be parsed')
  if ('value' in again) check(renderNarInfo(again.value) === rendered, 'a narinfo is rendered the same again')
  const { references, signatures, flags, compression, ca, deriver } = outcome.value
  return `accepted ${Math.min(3, references.length)} ${Math.min(3, signatures.length)} ${[...flags].sort()} ${Math.min(6, compression?.length ?? 0)} ${ca?.kind} ${ca?.algorithm} ${deriver !== undefined}`
}

const NARINFO_WORDS = [
  'StorePath: ',
  'URL: ',
  'Compression: ',
  'FileHash: ',
  'FileSize: ',
  'NarHash: ',
  'NarSize: ',
]
  .concat([
    'References: ',
    'Deriver: ',
    'System: ',
    'Sig: ',
    'CA: ',
    '/nix/store/',
    'sha256:',
    'fixed:r:sha256:',
  ])
  .concat([
    'text:sha256:',
    '.drv',
    'unknown-deriver',
    'none',
    ' ',
    '\n',
    '\r\n',
    ':',
    '18446744073709551616',
    '-1',
  ])
  .map((text) => utf8(text))

// — the rest —

function fuzzListing(input: Uint8Array): string {
  const outcome = refusal(() => parseListing(input))
  if ('words' in outcome) return outcome.words
  const printed = printListing(outcome.value)
  check(equalBytes(printListing(parseListing(printed)), printed), 'a listing is printed the same again')
  return `accepted ${Math.ceil(Math.log2(printed.length))}`
}

const LISTING_WORDS = [
  '{',
  '}',
  '"',
  ':',
  ',',
  '[',
  ']',
  '"version":1',
  '"root":',
  '"type":',
  '"regular"',
  '"symlink"',
]
  .concat([
    '"directory"',
    '"entries":',
    '"target":',
    '"size":',
    '"narOffset":',
    '"executable":true',
    '..',
    '\\u0000',
  ])
  .concat(['1e400', '-1', '9007199254740993', '"__proto__":', 'null'])
  .map((text) => utf8(text))

const LISTING_SEED =
  '{"root":{"entries":{"a":{"executable":true,"narOffset":400,"size":1,"type":"regular"},"b":{"target":"a","type":"symlink"},"c":{"entries":{},"type":"directory"}},"type":"directory"},"version":1}'

function fuzzNames(input: Uint8Array): string {
  const text = view(input).toString('utf8')
  const nar = parseNarFileName(text)
  if (nar)
    check(
      `${encodeNixbase32(nar.sha256)}.nar${nar.suffix}` === text,
      'the name of a NAR file has one reading',
    )
  const hash = parseNarInfoFileName(text)
  if (hash) check(`${encodeNixbase32(hash)}.narinfo` === text, 'the name of a narinfo has one reading')
  return `${nar ? `nar ${Math.min(3, nar.suffix.length)}` : ''}${hash ? 'narinfo' : ''}`
}

export const TARGETS: Readonly<Record<string, Target>> = {
  'vhost-user': vhostUser,
  nar: { run: fuzzNar, words: NAR_WORDS, seeds: narSeeds },
  narinfo: {
    run: fuzzNarInfo,
    words: NARINFO_WORDS,
    seeds: () => {
      const { samples, special } = vectors.narinfo as Record<'samples' | 'special', { text: string }[]>
      return [...samples.slice(0, 5), ...special].map(({ text }) => utf8(text))
    },
  },
  listing: { run: fuzzListing, words: LISTING_WORDS, seeds: () => [utf8(LISTING_SEED)] },
  names: {
    run: fuzzNames,
    words: ['.nar', '.narinfo', '.xz', '0', '1', 'z', 'e'].map((text) => utf8(text)),
    seeds: () => [utf8(`${'1'.repeat(52)}.nar.xz`), utf8(`${'a'.repeat(32)}.narinfo`)],
  },
}
