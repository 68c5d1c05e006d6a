import { closeSync, readSync, writeSync } from 'node:fs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { dataView } from '../../../../src/mount/fuse/bytes.ts'
import { Listing, listedInodes } from '../../../../src/mount/fuse/listing.ts'
import { nativeAddon } from '../../../../src/mount/fuse/native-addon.ts'
import { PreparedListings } from '../../../../src/mount/fuse/prepared-listings.ts'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import type { CastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import type { InodeNumber } from '../../../../src/mount/tree/interface.ts'
import { nativeTree } from '../../../../src/mount/tree/native-tree.ts'
import { frame, readBody } from '../../../support/fake-device.ts'
import { FakeStore, walk } from '../../../support/trees.ts'

const OWNER = { uid: 1000, gid: 100 }
const COUNT = 250
const addon = nativeTree() && nativeAddon()

/** A directory of several pages, and a tree that knows it. */
async function makeTree(): Promise<{ tree: CastoreTree; inode: InodeNumber }> {
  const store = new FakeStore()
  const kinds = [store.file('f'), store.symlink('l'), store.directory({}), store.file('x', true)]
  const names = Array.from({ length: COUNT }, (_, n) => `entry-${n}`)
  store.rootNodes.add(
    '1-a',
    store.directory(Object.fromEntries(names.map((name, n) => [name, kinds[n % 4]!]))),
  )
  const tree = store.tree({
    localDirectory: (digest) => store.directories.contents.get(digest.key)?.encoded,
  })
  return { tree, inode: (await walk(tree, '1-a')).inode }
}

const WALKED = 8
const FILES = 30

/** Directories beside each other, whose files are all different, and a tree that knows them. */
async function makeWalk(): Promise<{ tree: CastoreTree; inode: InodeNumber; next: InodeNumber[] }> {
  const store = new FakeStore()
  const files = (d: number) => Array.from({ length: FILES }, (_, f) => [`f${f}`, store.file(`${d} ${f}`)])
  const directories = Array.from({ length: WALKED }, (_, d) => [
    `d${d}`,
    store.directory(Object.fromEntries(files(d))),
  ])
  store.rootNodes.add('1-a', store.directory(Object.fromEntries(directories)))
  const tree = store.tree({
    localDirectory: (digest) => store.directories.contents.get(digest.key)?.encoded,
  })
  const next: InodeNumber[] = []
  for (const [name] of directories) next.push((await walk(tree, `1-a/${name}`)).inode)
  return { tree, inode: (await walk(tree, '1-a')).inode, next }
}

/** As JavaScript answers. */
async function listInTree(tree: CastoreTree, inode: InodeNumber, cookie: number, size: number) {
  const listing = new Listing(OWNER)
  listing.reset(inode, size, true)
  await tree.readdir(inode, cookie, listing, true)
  return Buffer.from(listing.bytes)
}

/** The addon with a kernel that does what it is told, on a socket. */
async function start<T extends { readonly tree: CastoreTree; readonly inode: InodeNumber }>(
  make: () => Promise<T>,
) {
  const made = await make()
  const { tree } = made
  const listings = PreparedListings.of(tree, OWNER)!
  const ends = new Int32Array(2)
  expect(addon!.socketPair(ends)).toBe(0)
  const [device = -1, kernel = -1] = ends
  const open = new Set([device, kernel])
  onTestFinished(() => {
    for (const fd of open) closeSync(fd)
  })
  const buffer = new Uint8Array(8192)
  const ask = (opcode: number, nodeid: number, cookie: number, size: number) => {
    const request = frame(opcode, nodeid, 7n, readBody(cookie, size))
    writeSync(kernel, request)
    const length = addon!.receive(device, buffer, 0, listings.native, listings.tables)
    if (length > 0) expect(Buffer.from(buffer.subarray(0, length))).toEqual(request)
    return length
  }
  const reply = () => {
    const bytes = Buffer.alloc(100_000)
    const length = readSync(kernel, bytes)
    expect([bytes.readUInt32LE(0), bytes.readInt32LE(4), bytes.readBigUInt64LE(8)]).toEqual([length, 0, 7n])
    return bytes.subarray(16, length)
  }
  const hangUp = () => {
    open.delete(kernel)
    closeSync(kernel)
  }
  return { ...made, listings, ask, reply, kernel, device, buffer, hangUp }
}

describe.skipIf(!addon)('a listing that is prepared', () => {
  test.each([400, 4096, 32_768, 2 ** 20])(
    'is answered as the tree does, %i bytes at a time',
    async (size) => {
      const { tree, inode, ask, reply, listings } = await start(makeTree)
      const other = await makeTree()
      const first = await listInTree(tree, inode, 0, size)
      expect(first).toEqual(await listInTree(other.tree, other.inode, 0, size))
      while (tree.answered?.());
      for (let cookie = 0; ; ) {
        expect(ask(Opcode.READDIRPLUS, inode, cookie, size)).toBe(0)
        const page = reply()
        listings.answered()
        while (tree.answered?.());
        expect(page).toEqual(await listInTree(other.tree, other.inode, cookie, size))
        if (page.length === 0) break
        for (let at = 0; at < page.length; at += (152 + page.readUInt32LE(at + 144) + 7) & ~7)
          cookie = Number(page.readBigUInt64LE(at + 136))
      }
      expect(tree.usage).toEqual(other.tree.usage)
    },
  )

  test('is for the tree when it is asked for in another way, or not at all', async () => {
    const { tree, inode, ask, listings, kernel, device, buffer } = await start(makeTree)
    expect(ask(Opcode.READDIRPLUS, inode, 0, 4096)).toBe(80)
    await listInTree(tree, inode, 0, 4096)
    while (tree.answered?.());
    expect(ask(Opcode.READDIR, inode, 0, 4096)).toBe(80)
    expect(ask(Opcode.READDIRPLUS, inode + 1, 0, 4096)).toBe(80)
    // No entry has room; nor is that a position.
    expect(ask(Opcode.READDIRPLUS, inode, 0, 100)).toBe(80)
    expect(ask(Opcode.READDIRPLUS, inode, 2 ** 40, 4096)).toBe(80)
    writeSync(kernel, frame(Opcode.READDIRPLUS, inode, 7n, readBody(0, 4096).subarray(0, 24)))
    expect(addon!.receive(device, buffer, 0, listings.native, listings.tables)).toBe(64)
    expect(ask(Opcode.READDIRPLUS, inode, 0, 4096)).toBe(0)
  })

  test('ends with the inode', async () => {
    const { tree, inode, ask } = await start(makeTree)
    await listInTree(tree, inode, 0, 4096)
    while (tree.answered?.());
    tree.forget(inode, 1)
    expect(ask(Opcode.READDIRPLUS, inode, 0, 4096)).toBe(80)
  })

  test('leaves no reference behind when nobody takes it', async () => {
    const { tree, inode, listings, device, buffer, kernel, hangUp } = await start(makeTree)
    await listInTree(tree, inode, 250, 4096)
    await listInTree(tree, inode, 0, 408)
    while (tree.answered?.());
    const { inodes } = tree.usage
    writeSync(kernel, frame(Opcode.READDIRPLUS, inode, 7n, readBody(0, 32_768)))
    hangUp()
    expect(addon!.receive(device, buffer, 0, listings.native, listings.tables)).toBe(0)
    expect(tree.usage.inodes).toBeGreaterThan(inodes)
    listings.answered()
    expect(tree.usage.inodes).toBe(inodes)
  })

  test.each([400, 32_768])(
    'is put together before it is asked for, %i bytes at a time, and says the same',
    async (size) => {
      const { tree, inode, next, ask, reply, listings } = await start(makeWalk)
      for (const listed of [inode, next[0]!]) {
        await listInTree(tree, listed, 0, 32_768)
        while (tree.answered?.());
      }
      for (const [before, listed] of next.slice(1).entries()) {
        // The root, its directory, those in that, the files of those that were listed: and some of this one.
        expect(tree.usage.inodes).toBeGreaterThan(2 + WALKED + (before + 1) * FILES)
        for (let cookie = 0; cookie <= FILES; ) {
          expect(ask(Opcode.READDIRPLUS, listed, cookie, size)).toBe(0)
          const page = reply()
          listings.answered()
          expect(page).toEqual(await listInTree(tree, listed, cookie, size))
          while (tree.answered?.());
          cookie += page.length > 0 ? [...listedInodes(dataView(page), 0, page.length)].length : 1
        }
      }
      expect(tree.usage.inodes).toBe(2 + WALKED + WALKED * FILES)
    },
  )

  test('gives back the references of what was put together in vain', async () => {
    const { tree, inode, next } = await start(makeWalk)
    for (const listed of [inode, next[0]!]) {
      await listInTree(tree, listed, 0, 32_768)
      while (tree.answered?.());
    }
    const { inodes } = tree.usage
    // Against the order, so that nothing else is put together; four have room.
    for (const listed of [7, 6, 5, 4]) {
      await listInTree(tree, next[listed]!, 0, 32_768)
      while (tree.answered?.());
    }
    expect(tree.usage.inodes).toBe(inodes + 3 * FILES)
  })

  test('leaves no reference behind when it was put together before, and nobody takes it', async () => {
    const { tree, inode, next, listings, device, buffer, kernel, hangUp } = await start(makeWalk)
    await listInTree(tree, inode, 0, 32_768)
    while (tree.answered?.());
    await listInTree(tree, next[0]!, 0, 32_768)
    const { inodes } = tree.usage
    while (tree.answered?.());
    expect(tree.usage.inodes).toBe(inodes + FILES)
    writeSync(kernel, frame(Opcode.READDIRPLUS, next[1]!, 7n, readBody(0, 32_768)))
    hangUp()
    expect(addon!.receive(device, buffer, 0, listings.native, listings.tables)).toBe(0)
    listings.answered()
    expect(tree.usage.inodes).toBe(inodes)
  })
})
