/** Requests that are looked for, instead of being told of. */
import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { SessionStats } from '../../../../src/mount/fuse/stats.ts'
import { GuestCompany } from '../../../../src/mount/virtiofs/guest-patience.ts'
import { VhostRequest } from '../../../../src/mount/virtiofs/protocol.ts'
import { directory, file } from '../../../posix/sample.ts'
import { until } from '../../../support/cli.ts'
import { listed, nameBody, readBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { FakeGuest, u32s } from '../../../support/guest/fake-guest.ts'

const FILES = 200
const PAGE_BYTES = 1024
const SAMPLE = directory({
  all: directory(Object.fromEntries(Array.from({ length: FILES }, (_, i) => [`f${i}`, file(`${i}`)]))),
})

/** As if no other guest had ever asked for anything. */
class NoCompany extends GuestCompany {
  override isAlone(): boolean {
    return true
  }
}

async function walker() {
  const stats = new SessionStats()
  const guest = await FakeGuest.mounted(new FakeTree(SAMPLE), {
    company: new NoCompany(),
    session: { stats },
  })
  const { body } = await guest.request(Opcode.LOOKUP, 1, nameBody('all'), 144)
  return { stats, guest, all: Number(body.readBigUInt64LE(0)) }
}

/** Names, a page at a time. */
async function list(guest: FakeGuest, inode: number): Promise<string[]> {
  const names: string[] = []
  for (let cookie = 0; ; ) {
    const room = 16 + PAGE_BYTES
    const before = guest.usedIndex(1)
    const { reply } = guest.post(Opcode.READDIRPLUS, inode, readBody(cookie, PAGE_BYTES), room)
    // Without a timer: whoever comes back late is not looked for.
    while (guest.usedIndex(1) === before) await new Promise(setImmediate)
    const { length } = await guest.used(1)
    const body = guest.read(reply + 16, length - 16)
    const page = listed(body, true)
    if (page.length === 0) return names
    names.push(...page.map(({ name }) => name))
    cookie = page.at(-1)!.cookie
  }
}

/** Of a queue that had so many requests: the device asks to be told of the next one. */
const sleeps = (guest: FakeGuest, queue: number) =>
  until(() => guest.wantedKick(queue) === guest.usedIndex(queue))

test.skipIf(availableParallelism() < 2)('a walk is looked for, and its end is slept through', async () => {
  const { guest, all, stats } = await walker()
  await using _guest = guest
  expect(await list(guest, all)).toHaveLength(FILES)
  expect(stats.lookedUs).toBeGreaterThan(0)
  await sleeps(guest, 1)
})

test('what lies in a queue that is not enabled keeps nobody from sleeping, and is served when it is', async () => {
  const { guest, all } = await walker()
  await using _guest = guest
  guest.send(VhostRequest.SET_VRING_ENABLE, u32s(2, 0))
  await guest.ask(VhostRequest.SET_OWNER, Buffer.alloc(0), [], 9)
  guest.post(Opcode.GETATTR, all, Buffer.alloc(16), 16 + 104, { queue: 2, head: 8 })
  expect(await list(guest, all)).toHaveLength(FILES)
  await sleeps(guest, 1)
  expect(guest.usedIndex(2)).toBe(0)
  guest.send(VhostRequest.SET_VRING_ENABLE, u32s(2, 1))
  expect((await guest.used(2)).id).toBe(8)
})
