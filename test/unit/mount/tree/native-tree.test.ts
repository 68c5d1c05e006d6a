import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import type { Entry } from '../../../../src/model/castore/node.ts'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { Listing } from '../../../../src/mount/fuse/listing.ts'
import { FILL_RECORD } from '../../../../src/mount/tree/fill-ahead.ts'
import { InodeTable } from '../../../../src/mount/tree/inode-table.ts'
import type { InodeNumber } from '../../../../src/mount/tree/interface.ts'
import { KeptDirectory } from '../../../../src/mount/tree/kept-directory.ts'
import { type NativeTree, nativeTree } from '../../../../src/mount/tree/native-tree.ts'
import { utf8 } from '../../../../src/support/bytes.ts'

const native = nativeTree()
const OWNER = { uid: 1000, gid: 100 }

const digest = fc.nat(30).map((n) => Digest.of(utf8(`${n}`)))
const name = fc.uint8Array({ minLength: 1, maxLength: 12 }).filter((bytes) => {
  const isDots = bytes.every((byte) => byte === 0x2e) && bytes.length < 3
  return !isDots && !bytes.includes(0) && !bytes.includes(0x2f)
})
const node = fc.oneof(
  fc.record({ kind: fc.constant('directory' as const), digest, size: fc.bigInt(0n, 2n ** 40n) }),
  fc.record({
    kind: fc.constant('file' as const),
    digest,
    size: fc.oneof(fc.bigInt(0n, 5n), fc.bigInt(0n, 2n ** 64n - 1n)),
    executable: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('symlink' as const),
    target: fc
      .string({ minLength: 1, maxLength: 20 })
      .filter((text) => !text.includes('\0'))
      .map((text) => symlinkTarget(utf8(text))),
  }),
)
const directories = fc
  .uniqueArray(fc.record({ name: name.map((bytes) => pathComponent(bytes)), node }), {
    maxLength: 60,
    selector: (entry) => Buffer.from(entry.name).toString('latin1'),
  })
  .map((entries) => Directory.from(entries as Entry[]))

/** A table with one directory in it. */
function tableWith(directory: Directory): { table: InodeTable; top: InodeNumber } {
  const table = new InodeTable()
  const top = table.internAtRoot({ kind: 'directory', digest: directory.digest, size: 1n }, utf8('top'))
  table.reference(top)
  return { table, top }
}

/** READDIRPLUS as JavaScript answers it. */
function listInJavaScript(
  directory: Directory,
  table: InodeTable,
  top: InodeNumber,
  listing: Listing,
  from: number,
) {
  for (let position = from; position < directory.entries.length; position++) {
    const entry = directory.entries[position]!
    const inode = table.intern(entry.node, top, position, entry.name)
    if (!listing.add(entry.name, { inode, attributes: table.attributes(inode) }, position + 1)) {
      table.forget(inode, 0)
      return
    }
    table.reference(inode)
  }
}

function listInAddon(
  addon: NativeTree,
  directory: Directory,
  table: InodeTable,
  top: InodeNumber,
  listing: Listing,
  from: number,
) {
  const { encoded, index } = KeptDirectory.of(directory)
  const records: Uint8Array[] = []
  listing.addPacked(
    {
      parent: top,
      encoded,
      index: index!,
      native: addon,
      get tables() {
        return table.tables
      },
      makeRoom: () => table.makeRoom(),
      listed: (bytes) => void records.push(bytes.slice()),
    },
    from,
  )
  return Buffer.concat(records)
}

describe.skipIf(!native)('the addon', () => {
  test('lists what JavaScript lists, byte by byte, and both find it again and forget it', () => {
    fc.assert(
      fc.property(directories, fc.integer({ min: 0, max: 6000 }), fc.nat(5), (directory, size, from) => {
        const ours = tableWith(directory)
        const theirs = tableWith(directory)
        const [a, b] = [new Listing(OWNER), new Listing(OWNER)]
        a.reset(ours.top, size, true)
        b.reset(theirs.top, size, true)
        listInJavaScript(directory, ours.table, ours.top, a, from)
        const records = listInAddon(native!, directory, theirs.table, theirs.top, b, from)
        expect(b.bytes).toEqual(a.bytes)
        expect(b.tooSmall).toBe(a.tooSmall)
        expect(records.length % FILL_RECORD.bytes).toBe(0)
        expect(theirs.table.count).toBe(ours.table.count)
        expect(theirs.table.fileBytes).toBe(ours.table.fileBytes)
        // The same slots in the same chains: what one made the other finds, so nothing is added.
        const known = theirs.table.count
        listInJavaScript(directory, theirs.table, theirs.top, b, from)
        expect(theirs.table.count).toBeGreaterThanOrEqual(known)
        for (const entry of directory.entries) {
          const { encoded, index } = KeptDirectory.of(directory)
          const position = directory.indexOf(entry.name)
          const found = native!.lookupEntry(theirs.table.tables, encoded, index!, theirs.top, entry.name)
          expect(found).toBe(theirs.table.intern(entry.node, theirs.top, position, entry.name))
          theirs.table.forget(found!, 1e9)
        }
        expect(theirs.table.count).toBe(2)
        expect(theirs.table.fileBytes).toBe(0n)
      }),
      { numRuns: 300 },
    )
  })

  test('takes exactly the encodings that the model takes and writes, under their digest', () => {
    fc.assert(
      fc.property(directories, fc.nat(), fc.nat(255), (directory, at, value) => {
        const bytes = Uint8Array.from(directory.encoded)
        if (bytes.length > 0) bytes[at % bytes.length] = value
        let canonical: Uint8Array | undefined
        try {
          canonical = Directory.from(Directory.decode(bytes).entries).encoded
        } catch {
          canonical = undefined
        }
        const isCanonical = canonical !== undefined && Buffer.compare(canonical, bytes) === 0
        const index = native!.openDirectory(bytes, Digest.of(bytes).bytes)
        expect(index !== undefined).toBe(isCanonical)
        expect(native!.openDirectory(bytes, Digest.of(utf8('another')).bytes)).toBeUndefined()
      }),
      { numRuns: 2000 },
    )
  })

  test('finds nothing under names that are not there, nor below what is no directory', () => {
    const file = { kind: 'file' as const, digest: Digest.of(utf8('x')), size: 1n, executable: false }
    const directory = Directory.from([{ name: pathComponent(utf8('here')), node: file }])
    const { table, top } = tableWith(directory)
    const { encoded, index } = KeptDirectory.of(directory)
    const find = (inode: InodeNumber, text: string) =>
      native!.lookupEntry(table.tables, encoded, index!, inode, utf8(text))
    expect(['her', 'heree', 'a', 'z', ''].map((text) => find(top, text))).toEqual([0, 0, 0, 0, 0])
    const inode = find(top, 'here')!
    expect(inode).toBeGreaterThan(top)
    expect([inode, 1, 0, -1, 2 ** 53, Number.NaN].map((other) => find(other, 'here'))).toEqual(
      Array(6).fill(undefined),
    )
  })
})
