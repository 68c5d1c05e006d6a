/** NARs: the same events however they are cut into pieces, and written again the same bytes. */
import type { NarEvent } from '../../../src/model/nar/event.ts'
import { NarParser } from '../../../src/model/nar/parser.ts'
import { NarWriter } from '../../../src/model/nar/writer.ts'
import { compareBytes, concatBytes, equalBytes, utf8, view } from '../../../src/support/bytes.ts'
import { vectors } from '../../support/vectors.ts'
import { parseInPieces, shapeOf } from '../pieces.ts'
import { check, type Target } from '../target.ts'

const PIECE_BYTES_MAX = 40

function fuzzNar(input: Uint8Array): string {
  const parsed = parseInPieces<NarEvent, NarParser>(input, PIECE_BYTES_MAX, () => new NarParser())
  checkOrder(parsed.events)
  if (parsed.fault === undefined) {
    const writer = new NarWriter()
    for (const event of parsed.events) writer.write(event)
    writer.finish()
    const written = concatBytes(writer.take())
    check(
      equalBytes(written, input.subarray(0, parsed.parser.consumed)),
      'an accepted NAR is the one that is written',
    )
  }
  return shapeOf(parsed)
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

export const nar: Target = { run: fuzzNar, words: NAR_WORDS, seeds: narSeeds }
