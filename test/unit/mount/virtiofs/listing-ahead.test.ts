/** Pages of listings that are put together before a guest asks for them. */
import { expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { SessionStats } from '../../../../src/mount/fuse/stats.ts'
import type { EntrySink, InodeNumber, Soon } from '../../../../src/mount/tree/interface.ts'
import { VhostRequest, VringFd } from '../../../../src/mount/virtiofs/protocol.ts'
import { LISTINGS_AHEAD_BYTES_MAX, LISTINGS_AHEAD_MAX } from '../../../../src/support/limits.ts'
import { directory, file } from '../../../posix/sample.ts'
import { until } from '../../../support/cli.ts'
import { type ListedEntry, listed, nameBody, readBody, u64s } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { FakeGuest, u32s, u64 } from '../../../support/guest/fake-guest.ts'

const PAGE_BYTES = 1024
const FILES = 20
const DIRECTORIES = LISTINGS_AHEAD_MAX + 4
const ESTALE = -116

/** Takes down which pages it was asked for. */
class NotedTree extends FakeTree {
  readonly pages: string[] = []
  /** What is not the first page has to be waited for. */
  wait: Promise<void> | undefined
  override readdir(inode: InodeNumber, cookie: number, sink: EntrySink, remember: boolean): Soon<void> {
    this.pages.push(`${inode} from ${cookie}`)
    if (!this.wait || cookie === 0) return super.readdir(inode, cookie, sink, remember)
    return this.wait.then(() => super.readdir(inode, cookie, sink, remember))
  }
}

function sample(): NotedTree {
  const files = (d: number) =>
    Object.fromEntries(Array.from({ length: FILES }, (_, i) => [`f${d}-${i}`, file(`${i}`)]))
  const all = Array.from({ length: DIRECTORIES }, (_, d) => [`d${10 + d}`, directory(files(d))] as const)
  return new NotedTree(directory({ all: directory(Object.fromEntries(all)) }))
}

async function lookup(guest: FakeGuest, name: string): Promise<number> {
  const { body } = await guest.request(Opcode.LOOKUP, 1, nameBody(name), 144)
  return Number(body.readBigUInt64LE(0))
}

async function page(guest: FakeGuest, inode: number, cookie: number, size = PAGE_BYTES) {
  const { error, body } = await guest.request(Opcode.READDIRPLUS, inode, readBody(cookie, size), 16 + size)
  expect(error).toBe(0)
  return listed(body, true)
}

/** All entries, a page at a time, as a guest does it: to the page that is empty. */
async function list(guest: FakeGuest, inode: number): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = []
  for (;;) {
    const next = await page(guest, inode, entries.at(-1)?.cookie ?? 0)
    if (next.length === 0) return entries
    entries.push(...next)
  }
}

/** When nothing is being prepared any more. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 0)).then(() => new Promise(setImmediate))

test('the next page, and the next directory once one was entered after the other, are there when they are asked for', async () => {
  const tree = sample()
  await using guest = await FakeGuest.mounted(tree)
  const all = await lookup(guest, 'all')
  const first = await page(guest, all, 0)
  await settled()
  expect(tree.pages).toEqual([`${all} from 0`, `${all} from ${first.length}`])
  const second = await page(guest, all, first.length)
  expect(second[0]!.name).toBe(`d${10 + first.length}`)
  const [a, b, c] = first.map(({ inode }) => inode) as [number, number, number]
  const names = async (inode: number) => (await list(guest, inode)).map(({ name }) => name)
  expect((await names(a)).length).toBe(FILES)
  await settled()
  expect(tree.pages).not.toContain(`${b} from 0`)
  expect((await names(b)).length).toBe(FILES)
  await settled()
  expect(tree.pages.filter((asked) => asked === `${c} from 0`).length).toBe(1)
  expect((await names(c)).toSorted()).toEqual(Array.from({ length: FILES }, (_, i) => `f2-${i}`).toSorted())
  expect(tree.pages.filter((asked) => asked === `${c} from 0`).length).toBe(1)
})

test('a walk gives every entry once, and every reference is given back, taken or not', async () => {
  const tree = sample()
  const guest = await FakeGuest.mounted(tree)
  const all = await lookup(guest, 'all')
  const entries = await list(guest, all)
  expect(entries.map(({ name }) => name)).toEqual(Array.from({ length: DIRECTORIES }, (_, d) => `d${10 + d}`))
  for (const { inode } of entries) expect((await list(guest, inode)).length).toBe(FILES)
  await settled()
  // The guest was given one for each entry; it gives those of the directories back itself.
  for (const { inode } of entries) await guest.request(Opcode.FORGET, inode, u64s(1), 0)
  // Beginning in many directories leaves more pages behind than are kept.
  const begun = await list(guest, all)
  for (const { inode } of begun) await page(guest, inode, 0)
  await settled()
  const held = tree.references
  const onePage = (await page(guest, begun[0]!.inode, 0)).length
  await settled()
  expect(tree.references - held).toBeLessThanOrEqual(2 * onePage)
  await guest[Symbol.asyncDispose]()
  await until(() => tree.references === 0)
})

test('nothing is prepared of large pages, and nothing kept that had to be waited for', async () => {
  const tree = sample()
  await using guest = await FakeGuest.mounted(tree)
  const all = await lookup(guest, 'all')
  const first = await page(guest, all, 0)
  await settled()
  const before = tree.pages.length
  const inode = first[0]!.inode
  await page(guest, inode, 0, LISTINGS_AHEAD_BYTES_MAX + 8)
  await settled()
  expect(tree.pages.length).toBe(before + 1)
  const held = tree.references
  const turn = Promise.withResolvers<void>()
  tree.wait = turn.promise
  const cut = await page(guest, inode, 0)
  await settled()
  expect(tree.pages.at(-1)).toBe(`${inode} from ${cut.length}`)
  turn.resolve()
  await settled()
  tree.wait = undefined
  expect(tree.references).toBe(held + cut.length)
  const next = await page(guest, inode, cut.length)
  expect(next[0]!.cookie).toBe(cut.length + 1)
})

test('a page that is asked for twice at once is counted twice', async () => {
  const tree = sample()
  const stats = new SessionStats()
  await using guest = await FakeGuest.mounted(tree, { session: { stats } })
  const all = await lookup(guest, 'all')
  const first = await page(guest, all, 0)
  await settled()
  expect(tree.pages.length).toBe(2)
  const replies = [0, 8].map((head) =>
    guest.post(Opcode.READDIRPLUS, all, readBody(first.length, PAGE_BYTES), 16 + PAGE_BYTES, { head }),
  )
  const lengths = [(await guest.used(1)).length, (await guest.used(1)).length]
  expect(lengths[0]).toBe(lengths[1])
  const [one, other] = replies.map(({ reply }) => listed(guest.read(reply + 16, lengths[0]! - 16), true))
  expect(one).toEqual(other)
  await settled()
  for (const { inode } of one!) await guest.request(Opcode.FORGET, inode, u64s(1), 0)
  for (const { inode } of one!)
    expect((await guest.request(Opcode.GETATTR, inode, Buffer.alloc(16), 120)).error).toBe(0)
  // The first of the two was given by the device itself, and is counted like the others.
  expect(stats.snapshot().requests['READDIRPLUS']).toBe(3)
})

test('a guest that mounts again is given nothing that was prepared for it before', async () => {
  const tree = sample()
  await using guest = await FakeGuest.mounted(tree)
  const all = await lookup(guest, 'all')
  const first = await page(guest, all, 0)
  await settled()
  await guest.init()
  const body = readBody(first.length, PAGE_BYTES)
  expect((await guest.request(Opcode.READDIRPLUS, all, body, 16 + PAGE_BYTES)).error).toBe(ESTALE)
  expect(tree.references).toBe(0)
})

test('a queue that is not enabled is given no pages, nor one whose calls go nowhere', async () => {
  const tree = sample()
  await using guest = await FakeGuest.mounted(tree)
  const all = await lookup(guest, 'all')
  const first = await page(guest, all, 0)
  await settled()
  guest.send(VhostRequest.SET_VRING_ENABLE, u32s(2, 0))
  await guest.ask(VhostRequest.GET_QUEUE_NUM)
  const body = readBody(first.length, PAGE_BYTES)
  const { reply } = guest.post(Opcode.READDIRPLUS, all, body, 16 + PAGE_BYTES, { queue: 2 })
  expect((await guest.request(Opcode.STATFS, 1, undefined, 96)).error).toBe(0)
  expect(guest.usedIndex(2)).toBe(0)
  guest.send(VhostRequest.SET_VRING_CALL, u64(BigInt(2 | VringFd.none)))
  guest.send(VhostRequest.SET_VRING_ENABLE, u32s(2, 1))
  const { length } = await guest.used(2)
  expect(listed(guest.read(reply + 16, length - 16), true)[0]!.name).toBe(`d${10 + first.length}`)
})
