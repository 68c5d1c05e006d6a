import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import type { NarEvent } from '../../../../src/model/nar/event.ts'
import { NarWriter } from '../../../../src/model/nar/writer.ts'
import { concatBytes, hex, utf8 } from '../../../../src/support/bytes.ts'
import { NAR_INLINE_CONTENTS_BYTES_MAX } from '../../../../src/support/limits.ts'
import { vectors } from '../../../support/vectors.ts'
import { writeNar } from './helpers.ts'

const entry = (name: string): NarEvent => ({ type: 'entry', name: pathComponent(utf8(name)) })
const link = (target: string): NarEvent => ({ type: 'symlink', target: symlinkTarget(utf8(target)) })
const file = (contents: string, executable = false): NarEvent[] => [
  { type: 'file', executable, size: contents.length },
  { type: 'contents', bytes: utf8(contents) },
  { type: 'end-file' },
]
const DIRECTORY: NarEvent = { type: 'directory' }
const END: NarEvent = { type: 'end-directory' }

const HELLO_WORLD = file('Hello World!')

const TREES: Record<string, NarEvent[]> = {
  symlink: [link('/nix/store/somewhereelse')],
  helloworld: HELLO_WORLD,
  executable: file('Hello World!', true),
  empty_file: file(''),
  go_emptydirectory: [DIRECTORY, END],
  complicated: [
    DIRECTORY,
    ...[entry('.keep'), ...file('')],
    ...[entry('aa'), link('/nix/store/somewhereelse')],
    ...[entry('keep'), DIRECTORY, entry('.keep'), ...file(''), END],
    END,
  ],
}

describe('the archive of a tree', () => {
  test.each(Object.entries(TREES))('%s has the bytes and the hash of the vector', (name, events) => {
    const vector = vectors.nar.valid.find((vector: { name: string }) => vector.name === name)
    const nar = writeNar(events)
    expect(Buffer.from(nar).toString('base64')).toBe(vector.nar_b64)
    expect(nar.length).toBe(vector.nar_size)
    expect(createHash('sha256').update(nar).digest('hex')).toBe(vector.nar_sha256_hex)
  })

  test('names and targets are framed as the wire vectors say', () => {
    for (const { payload_hex, wire_hex } of vectors.nar.wire_bytes.write) {
      const target = symlinkTarget(Buffer.from(payload_hex, 'hex'))
      expect(hex(writeNar([{ type: 'symlink', target }]))).toContain(wire_hex)
    }
  })
})

describe('pieces', () => {
  test('large contents pass through as they are, the framing around them comes in few pieces', () => {
    const bytes = new Uint8Array(NAR_INLINE_CONTENTS_BYTES_MAX + 1)
    const writer = new NarWriter()
    for (const event of [
      DIRECTORY,
      entry('a'),
      { type: 'file', executable: false, size: 2 * bytes.length },
    ] as const)
      writer.write(event)
    writer.write({ type: 'contents', bytes })
    writer.write({ type: 'contents', bytes })
    writer.write({ type: 'end-file' })
    writer.write(END)
    const pieces = writer.take()
    expect(pieces).toHaveLength(4)
    expect(pieces[1]).toBe(bytes)
    expect(pieces[2]).toBe(bytes)
    expect(writer.bytesWritten).toBe(concatBytes(pieces).length)
  })

  test('small contents are gathered, and a later event does not touch what was taken', () => {
    const writer = new NarWriter()
    writer.write(DIRECTORY)
    const taken: { piece: Uint8Array; copy: Uint8Array }[] = []
    let pending = 0
    for (let i = 0; i < 5_000; i++) {
      for (const event of [entry(`${i}`.padStart(5, '0')), ...file('x'.repeat(i % 100))]) writer.write(event)
      if (i % 700 !== 0) continue
      pending += writer.pendingBytes
      for (const piece of writer.take()) taken.push({ piece, copy: new Uint8Array(piece) })
    }
    for (const { piece, copy } of taken) expect(Buffer.compare(piece, copy)).toBe(0)
    expect(pending).toBe(taken.reduce((sum, { piece }) => sum + piece.length, 0))
    expect(taken.length).toBeLessThan(40)
    expect(writer.take()).not.toHaveLength(0)
    expect(writer.take()).toHaveLength(0)
  })

  test('contents that the caller puts out itself are counted', () => {
    const contents = utf8('Hello World!')
    const writer = new NarWriter()
    writer.write({ type: 'file', executable: false, size: contents.length })
    const before = writer.take()
    writer.skipContents(contents.length)
    writer.write({ type: 'end-file' })
    writer.finish()
    expect(writer.bytesWritten).toBe(128)
    expect(concatBytes([...before, contents, ...writer.take()])).toEqual(writeNar(HELLO_WORLD))
  })

  test('a file of 2^53 - 1 bytes is framed with its size and padding', () => {
    const size = Number.MAX_SAFE_INTEGER
    const writer = new NarWriter()
    writer.write({ type: 'file', executable: false, size })
    expect(hex(concatBytes(writer.take()).slice(-8))).toBe('ffffffffffff1f00')
    writer.skipContents(size)
    writer.write({ type: 'end-file' })
    expect(concatBytes(writer.take())).toHaveLength(1 + 16)
  })
})

describe('refusals', () => {
  test.each<[string, NarEvent[], object]>([
    ['names out of order', [DIRECTORY, entry('b'), link('x'), entry('a')], { variant: 'WrongSorting' }],
    ['the same name twice', [DIRECTORY, entry('a'), link('x'), entry('a')], { variant: 'WrongSorting' }],
    [
      'a blob of 12 bytes for a file of 2',
      [
        { type: 'file', executable: false, size: 2 },
        { type: 'contents', bytes: new Uint8Array(12) },
      ],
      { variant: 'InvalidInput' },
    ],
    [
      'a blob of 12 bytes for a file of 42',
      [
        { type: 'file', executable: false, size: 42 },
        { type: 'contents', bytes: new Uint8Array(12) },
        { type: 'end-file' },
      ],
      { variant: 'UnexpectedEof' },
    ],
    [
      'a size that is not one',
      [{ type: 'file', executable: false, size: 2 ** 53 }],
      { variant: 'InvalidInput' },
    ],
    ['an entry at the root', [entry('a')], { code: 'internal' }],
    ['a node without its entry', [DIRECTORY, link('x')], { code: 'internal' }],
    ['contents outside of a file', [{ type: 'contents', bytes: new Uint8Array(1) }], { code: 'internal' }],
    ['a second root', [link('x'), link('y')], { code: 'internal' }],
    ['an open directory at the end', [DIRECTORY], { code: 'internal' }],
  ])('%s', (_, events, error) => {
    expect(() => writeNar(events)).toThrow(expect.objectContaining(error))
  })
})
