import fc from 'fast-check'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import type { NarEvent } from '../../../../src/model/nar/event.ts'
import { NarParser } from '../../../../src/model/nar/parser.ts'
import { NarWriter } from '../../../../src/model/nar/writer.ts'
import { compareBytes, concatBytes } from '../../../../src/support/bytes.ts'

/** All events of an archive, given to the parser in pieces that end at `cuts`. */
export function parseNar(nar: Uint8Array, cuts: readonly number[] = []): NarEvent[] {
  const parser = new NarParser()
  const events: NarEvent[] = []
  const ends = [...cuts.map((cut) => cut % (nar.length + 1)).sort((a, b) => a - b), nar.length]
  let start = 0
  for (const end of ends) {
    events.push(...parser.push(nar.subarray(start, end)))
    start = end
  }
  parser.finish()
  return events
}

export function writeNar(events: Iterable<NarEvent>): Uint8Array {
  const writer = new NarWriter()
  for (const event of events) writer.write(event)
  writer.finish()
  return concatBytes(writer.take())
}

/** The events with contents joined, so that the splits of the input do not show. */
export function joinContents(events: readonly NarEvent[]): NarEvent[] {
  const joined: NarEvent[] = []
  for (const event of events) {
    const last = joined.at(-1)
    if (event.type === 'contents' && last?.type === 'contents')
      joined[joined.length - 1] = { type: 'contents', bytes: concatBytes([last.bytes, event.bytes]) }
    else joined.push(event)
  }
  return joined
}

/** The events of random trees, whose names and targets are of bytes up to `highest`: 0x7e for plain text. */
export function arbitraryTree(highest = 0xff): fc.Arbitrary<NarEvent[]> {
  const bytes = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength })
  const text = (maxLength: number) => fc.uint8Array({ min: 0x30, max: highest, minLength: 1, maxLength }) // above NUL, dot and slash
  const name = text(12).map(pathComponent)
  const target = text(40).map(symlinkTarget)
  const file = fc.record({ executable: fc.boolean(), bytes: bytes(0, 40) })
  const { node } = fc.letrec<{ node: NarEvent[] }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      file.map(({ executable, bytes }): NarEvent[] => [
        { type: 'file', executable, size: bytes.length },
        ...(bytes.length > 0 ? [{ type: 'contents', bytes } as const] : []),
        { type: 'end-file' },
      ]),
      target.map((bytes): NarEvent[] => [{ type: 'symlink', target: bytes }]),
      fc
        .uniqueArray(fc.tuple(name, tie('node')), { maxLength: 5, selector: ([name]) => name.join() })
        .map((entries): NarEvent[] => [
          { type: 'directory' },
          ...entries
            .sort(([a], [b]) => compareBytes(a, b))
            .flatMap(([name, node]): NarEvent[] => [{ type: 'entry', name }, ...node]),
          { type: 'end-directory' },
        ]),
    ),
  }))
  return node
}
