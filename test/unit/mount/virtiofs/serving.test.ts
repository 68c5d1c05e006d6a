import { describe, expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import type { InodeNumber, Soon } from '../../../../src/mount/tree/interface.ts'
import { FEATURES, Feature, VhostRequest } from '../../../../src/mount/virtiofs/protocol.ts'
import { GUEST_REQUESTS_MAX, GUEST_STOP_MS_MAX } from '../../../../src/support/limits.ts'
import { directory, file, pattern, symlink } from '../../../posix/sample.ts'
import { until } from '../../../support/cli.ts'
import { initBody, listed, nameBody, readBody, u64s, xattrBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import {
  FakeGuest,
  GUEST_BASE,
  MEMORY_BYTES,
  memTable,
  USER_BASE,
  u32s,
} from '../../../support/guest/fake-guest.ts'

const LARGE_BYTES = 1024 * 1024 + 77
const SAMPLE = directory({
  folder: directory({ inner: file('inner') }),
  hello: file('hello, world\n'),
  large: file(pattern(LARGE_BYTES)),
  link: symlink('hello'),
})

const EIO = -5
const E2BIG = -7
const EROFS = -30
const ENOSYS = -38
const ESTALE = -116

async function lookup(guest: FakeGuest, parent: number, name: string): Promise<number> {
  const { error, body } = await guest.request(Opcode.LOOKUP, parent, nameBody(name), 144)
  if (error !== 0) throw new Error(`looking up ${name}: ${error}`)
  return Number(body.readBigUInt64LE(0))
}

/** Reads of `stuck` wait until they are let go. */
class StuckTree extends FakeTree {
  readonly waiting: (() => void)[] = []
  override read(inode: InodeNumber, offset: number, size: number): Soon<readonly Uint8Array[]> {
    return new Promise((resolve) => {
      this.waiting.push(() => resolve(super.read(inode, offset, size) as readonly Uint8Array[]))
    })
  }
}

describe.each([
  ['as QEMU and Linux do it', { features: FEATURES, indirect: false }],
  ['with indirect tables', { features: FEATURES, indirect: true }],
  ['without an event index', { features: FEATURES & ~Feature.EVENT_IDX, indirect: true }],
  ['with the least of features', { features: Feature.VERSION_1, indirect: false }],
])('a guest is served, %s', (_, { features, indirect }) => {
  test('every kind of request', async () => {
    const tree = new FakeTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree, { features })
    const ask = async (opcode: number, inode: number, body?: Uint8Array, room?: number) =>
      await guest.request(opcode, inode, body, room, { indirect })
    const hello = await lookup(guest, 1, 'hello')
    expect((await ask(Opcode.GETATTR, hello, Buffer.alloc(16), 120)).body.readBigUInt64LE(24)).toBe(13n)
    expect((await ask(Opcode.OPEN, hello, Buffer.alloc(8), 32)).error).toBe(ENOSYS)
    expect((await ask(Opcode.READ, hello, readBody(0, 4096), 16 + 4096)).body.toString()).toBe(
      'hello, world\n',
    )
    expect((await ask(Opcode.READ, hello, readBody(7, 5), 16 + 5)).body.toString()).toBe('world')
    expect((await ask(Opcode.READ, hello, readBody(99, 5), 16 + 5)).body.length).toBe(0)
    const large = await lookup(guest, 1, 'large')
    const { body } = await ask(Opcode.READ, large, readBody(0, 1 << 20), 16 + (1 << 20))
    expect(body.equals(pattern(LARGE_BYTES).subarray(0, 1 << 20))).toBe(true)
    expect(
      (await ask(Opcode.READLINK, await lookup(guest, 1, 'link'), undefined, 16 + 4096)).body.toString(),
    ).toBe('hello')
    expect((await ask(Opcode.OPENDIR, 1, Buffer.alloc(8), 32)).error).toBe(ENOSYS)
    const names = listed((await ask(Opcode.READDIRPLUS, 1, readBody(0, 4096), 16 + 4096)).body, true)
    expect(names.map(({ name }) => name)).toEqual(['folder', 'hello', 'large', 'link'])
    expect((await ask(Opcode.STATFS, 1, undefined, 96)).error).toBe(0)
    expect((await ask(Opcode.LISTXATTR, hello, xattrBody(0), 24)).error).toBe(0)
    expect((await guest.request(Opcode.LOOKUP, 1, nameBody('absent'), 144)).body.readBigUInt64LE(0)).toBe(0n)
    expect((await ask(Opcode.MKDIR, 1, Buffer.concat([Buffer.alloc(8), nameBody('new')]), 144)).error).toBe(
      EROFS,
    )
    expect((await ask(Opcode.WRITE, hello, Buffer.alloc(4136), 24)).error).toBe(EROFS)
    expect((await ask(Opcode.FORGET, hello, u64s(1), 0)).body.length).toBe(0)
    expect((await ask(Opcode.DESTROY, 0, undefined, 16)).error).toBe(0)
  })
})

describe('queues', () => {
  test('more than 65,536 requests go through one, so that its indices begin again', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE), { size: 1024 })
    const batch = 1024 / 4
    for (let sent = 0; sent < 66_000; sent += batch) {
      for (let i = 0; i < batch; i++) guest.post(Opcode.STATFS, 1, Buffer.alloc(0), 96, { head: i * 4 })
      for (let i = 0; i < batch; i++) expect((await guest.used(1)).length).toBe(96)
    }
  }, 60_000)

  test('each answers what it was asked, the one of high priority too', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE))
    for (const queue of [0, 1, 2])
      expect((await guest.request(Opcode.STATFS, 1, undefined, 96, { queue })).error).toBe(0)
    const hello = await lookup(guest, 1, 'hello')
    await guest.request(Opcode.FORGET, hello, u64s(1), 0, { queue: 0 })
    expect((await guest.request(Opcode.GETATTR, hello, Buffer.alloc(16), 120)).error).toBe(ESTALE)
  })

  test('the guest is called once for what it did not look at yet, and not when it asked not to be', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE), {
      features: FEATURES & ~Feature.EVENT_IDX,
    })
    expect(guest.callsOf(1)).toBeGreaterThan(0)
    guest.setAvailableFlags(1, 1)
    await guest.request(Opcode.STATFS, 1, undefined, 96)
    expect(guest.callsOf(1)).toBe(0)
    guest.setAvailableFlags(1, 0)
    await guest.request(Opcode.STATFS, 1, undefined, 96)
    expect(guest.callsOf(1)).toBe(1)
  })

  test('a read may be scattered over buffers and regions that lie side by side', async () => {
    const tree = new FakeTree(SAMPLE)
    await using guest = new FakeGuest(tree)
    await guest.negotiate()
    const half = BigInt(MEMORY_BYTES / 2)
    const regions = [
      [GUEST_BASE, half, USER_BASE, 0n],
      [GUEST_BASE + half, half, USER_BASE + half * 4n, half],
    ] as const
    guest.send(VhostRequest.SET_MEM_TABLE, memTable(regions), [guest.memory, guest.memory])
    for (const index of [0, 1]) guest.startQueue(index)
    await guest.init()
    const large = await lookup(guest, 1, 'large')
    while (guest.allocate(1 << 16) < MEMORY_BYTES / 2 - (1 << 18)); // the buffer lies across the border
    const { body } = await guest.request(Opcode.READ, large, readBody(0, 1 << 20), 16 + (1 << 20))
    expect(body.equals(pattern(LARGE_BYTES).subarray(0, 1 << 20))).toBe(true)
  })

  test('a reply that has no room becomes EIO, and a request that is too long E2BIG', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE))
    expect((await guest.request(Opcode.STATFS, 1, undefined, 40)).error).toBe(EIO)
    expect((await guest.request(Opcode.SETXATTR, 1, Buffer.alloc(70_000, 'x'), 16)).error).toBe(E2BIG)
    expect((await guest.request(Opcode.STATFS, 1, undefined, 96)).error).toBe(0)
  })

  test('two requests of the same unique are two requests', async () => {
    const tree = new StuckTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree)
    const hello = await lookup(guest, 1, 'hello')
    const posts = [0, 8].map((head) =>
      guest.post(Opcode.READ, hello, readBody(head / 8, 4), 20, { head, unique: 77n }),
    )
    await until(() => tree.waiting.length === 2)
    for (const go of tree.waiting) go()
    expect([(await guest.used(1)).id, (await guest.used(1)).id].sort()).toEqual([0, 8])
    const [first, second] = posts.map(({ reply }) => guest.read(reply + 8, 12))
    expect([first!.readBigUInt64LE(0), second!.readBigUInt64LE(0)]).toEqual([77n, 77n])
    expect([first!.toString('latin1', 8), second!.toString('latin1', 8)]).toEqual(['hell', 'ello'])
  })

  test('what a guest asks beyond its share waits in its queues, but FORGET does not', async () => {
    const tree = new StuckTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree, { size: 1024, queues: 4 })
    const hello = await lookup(guest, 1, 'hello')
    const heads = Array.from({ length: GUEST_REQUESTS_MAX / 2 }, (_, i) => i * 4)
    for (const queue of [1, 2])
      for (const head of heads) guest.post(Opcode.READ, hello, readBody(0, 4), 20, { queue, head })
    await until(() => tree.waiting.length === GUEST_REQUESTS_MAX)
    for (const head of heads) guest.post(Opcode.STATFS, 1, Buffer.alloc(0), 96, { queue: 3, head })
    guest.post(Opcode.FORGET, 99, u64s(1), 0, { queue: 0 })
    expect((await guest.used(0)).length).toBe(0)
    expect(guest.usedIndex(3)).toBe(0)
    // One place is enough for all that is answered at once.
    tree.waiting.shift()!()
    for (const _ of heads) expect((await guest.used(3)).length).toBe(96)
    expect(tree.waiting.length).toBe(GUEST_REQUESTS_MAX - 1)
    for (const go of tree.waiting) go()
    for (const queue of [1, 2]) for (const _ of heads) await guest.used(queue)
  })
})

describe('the front-end', () => {
  test('learns that there is no migration, and what else there is', async () => {
    await using guest = new FakeGuest(new FakeTree(SAMPLE))
    const features = (await guest.ask(VhostRequest.GET_FEATURES)).readBigUInt64LE(0)
    expect(features & Feature.LOG_ALL).toBe(0n)
    expect(features).toBe(FEATURES)
    expect((await guest.ask(VhostRequest.GET_PROTOCOL_FEATURES)).readBigUInt64LE(0)).toBe(0b1001n)
    expect((await guest.ask(VhostRequest.GET_QUEUE_NUM)).readBigUInt64LE(0)).toBe(65n)
  })

  test('sends messages in pieces, or several at once', async () => {
    await using guest = new FakeGuest(new FakeTree(SAMPLE))
    const bytes = Buffer.concat([
      u32s(VhostRequest.SET_FEATURES, 1, 8),
      u32s(0, 1),
      u32s(VhostRequest.GET_FEATURES, 1, 0),
    ])
    for (const byte of bytes.subarray(0, 15)) guest.sendBytes(Buffer.of(byte))
    guest.sendBytes(bytes.subarray(15))
    expect((await guest.reply(VhostRequest.GET_FEATURES)).readBigUInt64LE(0)).toBe(FEATURES)
  })

  test('stops and continues a queue where it was', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE))
    for (let i = 0; i < 5; i++) await guest.request(Opcode.STATFS, 1, undefined, 96)
    const base = (await guest.ask(VhostRequest.GET_VRING_BASE, u32s(1, 0))).readUInt32LE(4)
    expect(base).toBe(6)
    guest.startQueue(1, base)
    expect((await guest.request(Opcode.STATFS, 1, undefined, 96)).error).toBe(0)
  })

  test('waits for answers that are on their way when it stops a queue', async () => {
    const tree = new StuckTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree)
    const hello = await lookup(guest, 1, 'hello')
    guest.post(Opcode.READ, hello, readBody(0, 4), 20)
    await until(() => tree.waiting.length === 1)
    const stopped = guest.ask(VhostRequest.GET_VRING_BASE, u32s(1, 0))
    setImmediate(() => tree.waiting[0]!())
    expect((await stopped).readUInt32LE(4)).toBe(3)
    expect((await guest.used(1)).length).toBe(20)
  })

  test(
    'but not for ever: what is late then fails with EIO',
    async () => {
      const tree = new StuckTree(SAMPLE)
      await using guest = await FakeGuest.mounted(tree)
      const hello = await lookup(guest, 1, 'hello')
      const { reply } = guest.post(Opcode.READ, hello, readBody(0, 4), 20)
      await until(() => tree.waiting.length === 1)
      await guest.ask(VhostRequest.GET_VRING_BASE, u32s(1, 0))
      expect((await guest.used(1)).length).toBe(16)
      expect(guest.read(reply + 4, 4).readInt32LE(0)).toBe(EIO)
      tree.waiting[0]!() // goes nowhere
      await new Promise(setImmediate)
      expect(guest.usedIndex(1)).toBe(3)
    },
    GUEST_STOP_MS_MAX + 10_000,
  )

  test(
    'what was late is never the answer to what the guest asks afterwards, in the same place of the queue',
    async () => {
      const tree = new StuckTree(SAMPLE)
      await using guest = await FakeGuest.mounted(tree)
      const hello = await lookup(guest, 1, 'hello')
      guest.post(Opcode.READ, hello, readBody(0, 5), 21)
      await until(() => tree.waiting.length === 1)
      const base = (await guest.ask(VhostRequest.GET_VRING_BASE, u32s(1, 0))).readUInt32LE(4)
      await guest.used(1)
      guest.startQueue(1, base)
      const { reply } = guest.post(Opcode.READ, hello, readBody(7, 5), 21)
      await until(() => tree.waiting.length === 2)
      tree.waiting[0]!()
      await new Promise(setImmediate)
      tree.waiting[1]!()
      expect((await guest.used(1)).length).toBe(21)
      expect(guest.read(reply + 16, 5).toString()).toBe('world')
      expect(guest.usedIndex(1)).toBe(4)
    },
    GUEST_STOP_MS_MAX + 10_000,
  )

  test('replaces the memory while a request waits', async () => {
    const tree = new StuckTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree)
    const hello = await lookup(guest, 1, 'hello')
    const { reply } = guest.post(Opcode.READ, hello, readBody(0, 5), 21)
    await until(() => tree.waiting.length === 1)
    guest.shareMemory()
    await guest.ask(VhostRequest.GET_QUEUE_NUM)
    tree.waiting[0]!()
    expect((await guest.used(1)).length).toBe(21)
    expect(guest.read(reply + 16, 5).toString()).toBe('hello')
  })

  test('gives everything back when it leaves', async () => {
    const tree = new FakeTree(SAMPLE)
    {
      await using guest = await FakeGuest.mounted(tree)
      await lookup(guest, 1, 'hello')
      await guest.request(Opcode.READDIRPLUS, 1, readBody(0, 4096), 16 + 4096)
      expect(tree.references).toBe(5)
    }
    await until(() => tree.references === 0)
  })
})

describe('guests that share a tree', () => {
  test('reach only what they looked up themselves', async () => {
    const tree = new FakeTree(SAMPLE)
    await using first = await FakeGuest.mounted(tree)
    await using second = await FakeGuest.mounted(tree)
    const hello = await lookup(first, 1, 'hello')
    for (const [opcode, body] of [
      [Opcode.GETATTR, Buffer.alloc(16)],
      [Opcode.READ, readBody(0, 13)],
      [Opcode.READLINK, Buffer.alloc(0)],
      [Opcode.READDIRPLUS, readBody(0, 512)],
      [Opcode.GETXATTR, xattrBody(0, 'user.x')],
      [Opcode.LISTXATTR, xattrBody(0)],
      [Opcode.LOOKUP, nameBody('x')],
    ] as const)
      expect((await second.request(opcode, hello, body)).error, String(opcode)).toBe(ESTALE)
    expect((await first.request(Opcode.READ, hello, readBody(0, 13))).body.toString()).toBe('hello, world\n')
  })

  test('cannot make the others lose anything', async () => {
    const tree = new FakeTree(SAMPLE)
    await using first = await FakeGuest.mounted(tree)
    await using second = await FakeGuest.mounted(tree)
    const hello = await lookup(first, 1, 'hello')
    expect(await lookup(second, 1, 'hello')).toBe(hello)
    await second.request(Opcode.FORGET, hello, u64s(2n ** 63n), 0)
    await second.request(Opcode.BATCH_FORGET, 0, Buffer.concat([u32s(2, 0), u64s(hello, 5, hello, 5)]), 0)
    expect((await first.request(Opcode.READ, hello, readBody(0, 13))).body.toString()).toBe('hello, world\n')
    expect((await second.request(Opcode.GETATTR, hello, Buffer.alloc(16), 120)).error).toBe(ESTALE)
    expect(tree.references).toBe(1)
  })
})

describe('a guest that mounts again', () => {
  test('knows nothing of before, and what it waited for has failed', async () => {
    const tree = new StuckTree(SAMPLE)
    await using guest = await FakeGuest.mounted(tree)
    const hello = await lookup(guest, 1, 'hello')
    const { reply } = guest.post(Opcode.READ, hello, readBody(0, 4), 20, { head: 32 })
    await until(() => tree.waiting.length === 1)
    const { reply: initReply } = guest.post(Opcode.INIT, 0, initBody(), 80)
    expect(await guest.used(1)).toEqual({ id: 32, length: 16 })
    expect(guest.read(reply + 4, 4).readInt32LE(0)).toBe(EIO)
    expect(await guest.used(1)).toEqual({ id: 0, length: 80 })
    expect(guest.read(initReply + 4, 4).readInt32LE(0)).toBe(0)
    expect((await guest.request(Opcode.GETATTR, hello, Buffer.alloc(16), 120)).error).toBe(ESTALE)
    expect(await lookup(guest, 1, 'hello')).toBeGreaterThan(1)
    expect(tree.references).toBe(1)
  })

  test('keeps a listing of the root for a second only, since nobody can tell it to drop it', async () => {
    await using guest = await FakeGuest.mounted(new FakeTree(SAMPLE))
    const init = await guest.init()
    const flags = init.readUInt32LE(12)
    expect(flags & (1 << 12)).not.toBe(0) // AUTO_INVAL_DATA
    expect(flags & (1 << 25)).toBe(0) // EXPLICIT_INVAL_DATA
    const root = (await guest.request(Opcode.GETATTR, 1, Buffer.alloc(16), 120)).body
    expect(root.readBigUInt64LE(0)).toBe(1n)
    expect(Number(root.readBigUInt64LE(16 + 32))).toBeGreaterThan(1_600_000_000)
    const hello = await lookup(guest, 1, 'hello')
    const attributes = (await guest.request(Opcode.GETATTR, hello, Buffer.alloc(16), 120)).body
    expect(attributes.readBigUInt64LE(16 + 32)).toBe(1n)
  })
})
