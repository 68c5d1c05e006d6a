/** Guests on sockets of their own, over one tree: what it asks of its services. */
import { expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { until } from '../../../support/cli.ts'
import { listed, nameBody, readBody } from '../../../support/fake-device.ts'
import { FakeGuest } from '../../../support/guest/fake-guest.ts'
import { FakeStore } from '../../../support/trees.ts'

const FILES = 50

/** Looks up, lists and reads everything below the store path; the contents of the files. */
async function readClosure(guest: FakeGuest): Promise<string[]> {
  const found = await guest.request(Opcode.LOOKUP, 1, nameBody('abc-closure'), 144)
  const folder = Number(found.body.readBigUInt64LE(0))
  const { body } = await guest.request(Opcode.READDIRPLUS, folder, readBody(0, 65_536), 65_552)
  const contents: string[] = []
  for (const { inode } of listed(body, true))
    contents.push((await guest.request(Opcode.READ, inode, readBody(0, 4096), 4112)).body.toString())
  return contents
}

test("a second guest's cold read of the same closure fetches nothing", async () => {
  const store = new FakeStore()
  const files = Array.from({ length: FILES }, (_, i) => [`f${i}`, store.file(`contents ${i}`)] as const)
  store.rootNodes.entries.push({
    name: utf8('abc-closure'),
    node: store.directory(Object.fromEntries(files)),
  })
  const tree = store.tree()
  const asked = () => ({
    chunks: store.blobs.chunkRequests,
    reads: store.blobs.readRequests,
    directories: store.directories.requests + store.directories.recursiveRequests,
  })
  let first: string[]
  let before: ReturnType<typeof asked>
  {
    await using one = await FakeGuest.mounted(tree)
    first = await readClosure(one)
    before = asked()
    expect(before.reads).toBe(FILES)
    await using other = await FakeGuest.mounted(tree)
    expect(await readClosure(other)).toEqual(first)
    expect(asked()).toEqual(before)
  }
  // Everything was given back; what was fetched is still there for the next one.
  await until(() => tree.usage.inodes === 1)
  await using later = await FakeGuest.mounted(tree)
  expect(await readClosure(later)).toEqual(first)
  expect(asked()).toEqual(before)
})
