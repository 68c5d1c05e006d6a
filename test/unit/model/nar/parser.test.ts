import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { NarEvent } from '../../../../src/model/nar/event.ts'
import { NarParser } from '../../../../src/model/nar/parser.ts'
import { concatBytes, utf8 } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { NAR_DEPTH_MAX, NAR_DIRECTORY_ENTRIES_MAX } from '../../../../src/support/limits.ts'
import { vectors } from '../../../support/vectors.ts'
import { arbitraryTree, joinContents, parseNar, writeNar } from './helpers.ts'

interface Case {
  name: string
  what: string
  nar_b64: string
}

const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))
const validNar = (name: string) =>
  bytesOf(vectors.nar.valid.find((vector: Case) => vector.name === name).nar_b64)
const failure = (run: () => unknown): unknown => {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}

/** A token of the format, written here anew: the tests do not take the product's word for it. */
const token = (value: string | Uint8Array, length?: number | bigint): Uint8Array => {
  const bytes = typeof value === 'string' ? utf8(value) : value
  const framed = Buffer.alloc(8 + Math.ceil(bytes.length / 8) * 8)
  framed.writeBigUInt64LE(BigInt(length ?? bytes.length))
  framed.set(bytes, 8)
  return framed
}
const archive = (...parts: (string | Uint8Array)[]) =>
  concatBytes([
    token('nix-archive-1'),
    ...parts.map((part) => (typeof part === 'string' ? token(part) : part)),
  ])
const symlink = ['(', 'type', 'symlink', 'target', 'x', ')']

describe('valid archives', () => {
  test.each(vectors.nar.valid as Case[])('$name is written again byte for byte', ({ nar_b64 }) => {
    const nar = bytesOf(nar_b64)
    expect(writeNar(parseNar(nar))).toEqual(nar)
  })

  test('the events of a symlink, a file and an executable', () => {
    const target = new Uint8Array(utf8('/nix/store/somewhereelse'))
    expect(parseNar(validNar('symlink'))).toEqual([{ type: 'symlink', target }])
    expect(parseNar(validNar('helloworld')).map((event) => event.type)).toEqual([
      'file',
      'contents',
      'end-file',
    ])
    expect(parseNar(validNar('executable'))[0]).toEqual({ type: 'file', executable: true, size: 12 })
  })

  test('one byte at a time gives the same events', () => {
    for (const { nar_b64 } of vectors.nar.valid as Case[]) {
      const nar = bytesOf(nar_b64)
      const everyByte = Array.from({ length: nar.length }, (_, i) => i)
      expect(joinContents(parseNar(nar, everyByte))).toEqual(parseNar(nar))
    }
  })

  test('a file event comes where its contents begin', () => {
    const parser = new NarParser()
    for (const event of parser.push(validNar('helloworld'))) if (event.type === 'file') break
    expect(parser.consumed).toBe(96)
  })

  test('contents are views of the piece, not copies', () => {
    const nar = validNar('helloworld')
    const contents = parseNar(nar).find((event) => event.type === 'contents')
    expect(contents?.bytes.buffer).toBe(nar.buffer)
  })

  test('names outlive the piece they came in', () => {
    const nar = Buffer.from(validNar('complicated')) // slice() of a Buffer does not copy
    const parser = new NarParser()
    const events = [...parser.push(nar)]
    nar.fill(0)
    const names = events.flatMap((event) =>
      event.type === 'entry' ? [Buffer.from(event.name).toString()] : [],
    )
    expect(names).toEqual(['.keep', 'aa', 'keep', '.keep'])
  })

  test('bytes after the archive are counted, not looked at', () => {
    const parser = new NarParser()
    const events = [...parser.push(bytesOf(vectors.nar.trailing_garbage.nar_b64))]
    events.push(...parser.push(utf8('more')))
    parser.finish()
    expect(events).toHaveLength(1)
    expect(parser.done).toBe(true)
    expect(parser.consumed).toBe(136)
    expect(parser.unconsumed).toBe('garbage!'.length + 'more'.length)
  })
})

describe('invalid archives', () => {
  test.each(vectors.nar.invalid.cases as Case[])('$what', ({ nar_b64 }) => {
    expect(failure(() => parseNar(bytesOf(nar_b64)))).toMatchObject({
      code: 'invalid-argument',
      variant: expect.stringMatching(/^(InvalidData|UnexpectedEof)$/),
    })
  })

  test('every early end is UnexpectedEof, at every byte', () => {
    const nar = validNar('complicated')
    for (let length = 0; length < nar.length; length++)
      expect(failure(() => parseNar(nar.subarray(0, length)))).toMatchObject({ variant: 'UnexpectedEof' })
  })

  const entry = (name: string | Uint8Array) => ['entry', '(', 'name', name, 'node', ...symlink, ')'] as const
  const directory = (...entries: (string | Uint8Array)[]) =>
    archive('(', 'type', 'directory', ...entries, ')')
  test.each<[string, Uint8Array]>([
    ['unsorted names', directory(...entry('b'), ...entry('a'))],
    ['name ..', directory(...entry('..'))],
    ['name with NUL', directory(...entry('a\0b'))],
    ['name length of 2^63', directory('entry', '(', 'name', token('', 2n ** 63n))],
    ['symlink target of 4096 bytes', archive('(', 'type', 'symlink', 'target', 'x'.repeat(4096), ')')],
    ['file of 2^53 bytes', archive('(', 'type', 'regular', 'contents', token('', 2n ** 53n))],
    ['file of 2^64 - 1 bytes', archive('(', 'type', 'regular', 'contents', token('', 2n ** 64n - 1n))],
    ['regular file without contents', archive('(', 'type', 'regular', ')')],
    ['unknown node type', archive('(', 'type', 'fifo', ')', 'x'.repeat(64))],
    [
      'contents after executable with payload',
      archive('(', 'type', 'regular', 'executable', 'x', 'contents', 'y', ')'),
    ],
    [
      'non-zero padding of a name',
      directory('entry', '(', 'name', Buffer.from('010000000000000061ff000000000000', 'hex')),
    ],
  ])('%s', (_, nar) => {
    expect(failure(() => parseNar(nar))).toMatchObject({ variant: 'InvalidData' })
  })

  test('a file of 2^53 - 1 bytes is only waited for', () => {
    const parser = new NarParser()
    const size = Number.MAX_SAFE_INTEGER
    const events = [...parser.push(archive('(', 'type', 'regular', 'contents', token('', size)))]
    expect(events).toEqual([{ type: 'file', executable: false, size }])
  })

  const nested = (depth: number) =>
    archive(
      ...Array.from({ length: depth }, () => [
        '(',
        'type',
        'directory',
        'entry',
        '(',
        'name',
        'a',
        'node',
      ]).flat(),
      ...symlink,
      ...Array.from({ length: depth }, () => [')', ')']).flat(),
    )
  test(`directories nested ${NAR_DEPTH_MAX} deep below the root pass, one more does not`, () => {
    expect(parseNar(nested(NAR_DEPTH_MAX + 1))).toHaveLength(3 * (NAR_DEPTH_MAX + 1) + 1)
    expect(failure(() => parseNar(nested(NAR_DEPTH_MAX + 2)))).toMatchObject({
      variant: 'InvalidData',
      message: expect.stringContaining('nested'),
    })
  })

  test('a directory has as many entries as the limit says, and not one more', () => {
    const parser = new NarParser()
    const push = (piece: Uint8Array) => {
      let events = 0
      for (const _ of parser.push(piece)) events++
      return events
    }
    push(archive('(', 'type', 'directory'))
    const batch = 1000
    for (let first = 0; first < NAR_DIRECTORY_ENTRIES_MAX; first += batch) {
      const names = Array.from({ length: batch }, (_, i) => `${first + i}`.padStart(8, '0'))
      push(batchOfSymlinks(names))
    }
    expect(failure(() => push(batchOfSymlinks(['x'])))).toMatchObject({ variant: 'InvalidData' })
  })

  test('a failed parser refuses to go on', () => {
    const parser = new NarParser()
    expect(() => [...parser.push(archive('x'.repeat(64)))]).toThrow('not a valid NAR')
    expect(() => [...parser.push(new Uint8Array(1))]).toThrow(StoreError)
    expect(() => parser.finish()).toThrow('ends early')
  })

  test('a parser whose piece was abandoned refuses the next', () => {
    const parser = new NarParser()
    for (const _ of parser.push(validNar('complicated'))) break
    expect(() => [...parser.push(new Uint8Array(1))]).toThrow('not read to the end')
  })
})

/** Entries that are symlinks, as one piece; built by hand since there are a million of them. */
function batchOfSymlinks(names: readonly string[]): Uint8Array {
  const before = concatBytes(['entry', '(', 'name'].map((text) => token(text)))
  const after = concatBytes(['node', ...symlink, ')'].map((text) => token(text)))
  return concatBytes(names.flatMap((name) => [before, token(name), after]))
}

describe('properties', () => {
  const cuts = fc.array(fc.nat(), { maxLength: 12 })

  test('writing random trees and parsing them in random pieces gives the same events', () => {
    fc.assert(
      fc.property(arbitraryTree(), cuts, (events, cuts) => {
        const nar = writeNar(events)
        const parsed = parseNar(nar, cuts)
        expect(joinContents(parsed)).toEqual(events)
        expect(writeNar(parsed)).toEqual(nar)
      }),
      { numRuns: 200 },
    )
  })

  test('a mutated archive is either refused with an error of its own, or written again as it is', () => {
    const mutation = fc.record({ at: fc.nat(), byte: fc.nat(255), cut: fc.boolean() })
    fc.assert(
      fc.property(
        arbitraryTree(),
        fc.array(mutation, { minLength: 1, maxLength: 3 }),
        cuts,
        (events, mutations, cuts) => {
          let nar = writeNar(events)
          for (const { at, byte, cut } of mutations) {
            if (cut) nar = nar.subarray(0, nar.length - (at % 16))
            else if (nar.length > 0) nar[at % nar.length] = byte
          }
          const parsed = outcome(nar, cuts)
          if (parsed instanceof Error) expect(parsed).toMatchObject({ name: 'ValidationError' })
          else expect(nar.subarray(0, writeNar(parsed).length)).toEqual(writeNar(parsed))
        },
      ),
      { numRuns: 1000 },
    )
  })

  test('every single bit of a small archive matters, or is contents, name, target or flag', () => {
    const nar = validNar('complicated')
    for (let bit = 0; bit < nar.length * 8; bit++) {
      const flipped = nar.slice()
      flipped[bit >> 3]! ^= 1 << (bit & 7)
      const parsed = outcome(flipped, [])
      if (!(parsed instanceof Error)) expect(writeNar(parsed)).toEqual(flipped)
    }
  })
})

function outcome(nar: Uint8Array, cuts: readonly number[]): NarEvent[] | Error {
  try {
    return parseNar(nar, cuts)
  } catch (error) {
    return error as Error
  }
}
