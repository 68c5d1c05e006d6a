import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { ListingBuilder, type ListingNode, locate } from '../../../../src/model/nar/listing.ts'
import { parseListing, printListing } from '../../../../src/model/nar/listing-json.ts'
import { NarParser } from '../../../../src/model/nar/parser.ts'
import { NarWriter } from '../../../../src/model/nar/writer.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { NAR_LISTING_BYTES_MAX, TREE_DEPTH_MAX } from '../../../../src/support/limits.ts'
import { vectors } from '../../../support/vectors.ts'
import { arbitraryTree, writeNar } from './helpers.ts'

function listingOf(nar: Uint8Array): ListingNode {
  const parser = new NarParser()
  const builder = new ListingBuilder()
  for (const event of parser.push(nar)) builder.add(event, parser.consumed)
  return builder.finish()
}

const file = (name: string) => ({
  name: pathComponent(utf8(name)),
  node: { type: 'regular', executable: false, size: 1, narOffset: 2 } as const,
})

function printed(root: ListingNode): string {
  return Buffer.from(printListing(root)).toString('utf8')
}

describe('printing', () => {
  test.each(vectors.nar.listing_json.cases as { nar: string; json: string }[])('$nar', ({ nar, json }) => {
    const vector = vectors.nar.valid.find((vector: { name: string }) => vector.name === nar)
    expect(printed(listingOf(Buffer.from(vector.nar_b64, 'base64')))).toBe(json)
  })

  test('executable is there only when it is true; names are escaped and keep their order', () => {
    const entries = [file('10'), file('9'), file('"\n'), file('__proto__')]
    const listing: ListingNode = { type: 'directory', entries }
    expect(printed(listing)).toBe(
      '{"root":{"entries":{"10":F,"9":F,"\\"\\n":F,"__proto__":F},"type":"directory"},"version":1}'.replaceAll(
        'F',
        '{"narOffset":2,"size":1,"type":"regular"}',
      ),
    )
    expect(printed({ ...file('x').node, executable: true })).toBe(
      '{"root":{"executable":true,"narOffset":2,"size":1,"type":"regular"},"version":1}',
    )
  })

  test('names and targets that are not UTF-8 are the bytes that they are, as Nix writes them', () => {
    const entries = [
      { name: pathComponent(Uint8Array.of(0x63, 0xe9, 0x09)), node: file('x').node },
      {
        name: pathComponent(utf8('ä')),
        node: { type: 'symlink', target: symlinkTarget(Uint8Array.of(0xff)) } as const,
      },
    ]
    const document = Buffer.from(printListing({ type: 'directory', entries }))
    expect(document.includes(Buffer.from('"c\xe9\\t":{"narOffset":2', 'latin1'))).toBe(true)
    expect(document.includes(Buffer.from('"\xc3\xa4":{"target":"\xff","type"', 'latin1'))).toBe(true)
    expect(() => parseListing(document)).toThrow('not UTF-8')
  })

  test('a builder without a whole archive has nothing to give', () => {
    const builder = new ListingBuilder()
    builder.add({ type: 'directory' }, 0)
    expect(() => builder.finish()).toThrow('not complete')
  })
})

describe('parsing', () => {
  const document = utf8(vectors.nar.listing_parse.json)
  const root = parseListing(document)

  test('a listing of a real cache is printed again byte for byte', () => {
    expect(printed(root)).toBe(vectors.nar.listing_parse.json)
  })

  test.each(vectors.nar.listing_parse.locate as { path: string; result: string | null }[])(
    'locate $path',
    ({ path, result }) => {
      expect(locate(root, path)?.type ?? null).toBe(result)
    },
  )

  test('locate the root, and below a file', () => {
    expect(locate(root, '')).toBe(root)
    expect(locate(root, 'nix-support/system/x')).toBeUndefined()
  })

  test.each([...vectors.nar.listing_parse.locate_errors, 'a//b', './a', 'nix-support/'])(
    'locate %s',
    (path) => {
      expect(() => locate(root, path)).toThrow(expect.objectContaining({ variant: 'InvalidPath' }))
    },
  )

  const regular = '{"type":"regular","size":1,"narOffset":2}'
  const wrap = (node: string, version = '1') => utf8(`{"version":${version},"root":${node}}`)
  const nested = (depth: number) =>
    wrap('{"type":"directory","entries":{"a":'.repeat(depth) + regular + '}}'.repeat(depth))
  test.each<[string, Uint8Array, string]>([
    ['no JSON', utf8('{'), 'InvalidListing'],
    ['not UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'InvalidListing'],
    ['another version', wrap(regular, '2'), 'InvalidListing'],
    ['no root', utf8('{"version":1}'), 'InvalidListing'],
    ['unknown type', wrap('{"type":"fifo"}'), 'InvalidListing'],
    ['negative size', wrap('{"type":"regular","size":-1,"narOffset":2}'), 'InvalidListing'],
    ['size above 2^53', wrap('{"type":"regular","size":9007199254740993,"narOffset":2}'), 'InvalidListing'],
    ['entries as a list', wrap('{"type":"directory","entries":[]}'), 'InvalidListing'],
    ['name with a slash', wrap(`{"type":"directory","entries":{"../x":${regular}}}`), 'InvalidName(Slashes)'],
    ['empty target', wrap('{"type":"symlink","target":""}'), 'InvalidSymlinkTarget(Empty)'],
    ['nested too deep', nested(TREE_DEPTH_MAX + 2), 'InvalidListing'],
    ['too large', new Uint8Array(NAR_LISTING_BYTES_MAX + 1), 'DocumentTooLarge'],
  ])('%s is refused', (_, document, variant) => {
    expect(() => parseListing(document)).toThrow(expect.objectContaining({ variant }))
  })

  test('nesting up to the limit passes', () => {
    expect(parseListing(nested(TREE_DEPTH_MAX + 1)).type).toBe('directory')
  })

  test('listings of random trees survive printing and parsing, and offsets point at the contents', () => {
    fc.assert(
      fc.property(arbitraryTree(0x7e), (events) => {
        const writer = new NarWriter()
        const written = new ListingBuilder()
        for (const event of events) {
          writer.write(event)
          written.add(event, writer.bytesWritten)
        }
        const parsed = listingOf(writeNar(events))
        expect(written.finish()).toEqual(parsed)
        const document = printListing(parsed)
        expect(printListing(parseListing(document))).toEqual(document)
      }),
      { numRuns: 100 },
    )
  })
})
