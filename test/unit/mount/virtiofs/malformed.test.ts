/** Whatever a guest or its front-end makes up ends its own device, with a reason, and nobody else's. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { Opcode } from '../../../../src/mount/fuse/protocol.ts'
import type { InodeNumber, Soon } from '../../../../src/mount/tree/interface.ts'
import { FEATURES, Feature, VhostRequest } from '../../../../src/mount/virtiofs/protocol.ts'
import { directory, file } from '../../../posix/sample.ts'
import { until } from '../../../support/cli.ts'
import { frame, nameBody, readBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import {
  DescFlag,
  descriptorBytes,
  FakeGuest,
  type FakeGuestOptions,
  frontEndAddon,
  GUEST_BASE,
  MEMORY_BYTES,
  memTable,
  USER_BASE,
  u32s,
  u64,
} from '../../../support/guest/fake-guest.ts'

/** Reads wait until they are let go. */
class HeldTree extends FakeTree {
  readonly waiting: (() => void)[] = []
  override read(inode: InodeNumber, offset: number, size: number): Soon<readonly Uint8Array[]> {
    return new Promise((resolve) => {
      this.waiting.push(() => resolve(super.read(inode, offset, size) as readonly Uint8Array[]))
    })
  }
}

const tree = new HeldTree(directory({ hello: file('hello, world\n') }))
let innocent: FakeGuest
let files: number[] = []
let folder: string

beforeAll(async () => {
  folder = mkdtempSync('/tmp/tvix-store-virtiofs-')
  innocent = await FakeGuest.mounted(tree)
})

afterAll(async () => {
  await innocent[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

afterEach(() => {
  for (const opened of files) closeSync(opened)
  files = []
})

function opened(fd: number): number {
  files = [...files, fd]
  return fd
}

interface MalformedCase {
  readonly title: string
  readonly reason: RegExp
  readonly options?: FakeGuestOptions
  act(guest: FakeGuest): unknown
}

/** Runs a case against a guest in a certain state; it must be given up for that reason, and nobody else. */
function refuses(cases: readonly MalformedCase[], prepare: (guest: FakeGuest) => Promise<unknown>): void {
  test.each(cases)('$title', async ({ reason, options, act }) => {
    const before = openFiles()
    const guest = new FakeGuest(tree, options)
    try {
      await prepare(guest)
      await act(guest)
      const fault = await guest.frontEnd.ended
      expect(fault?.message).toMatch(reason)
    } finally {
      await guest[Symbol.asyncDispose]()
    }
    expect((await innocent.request(Opcode.STATFS, 1, undefined, 96)).error).toBe(0)
    expect(openFiles() - before).toBe(files.length)
  })
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}

const SIZE = BigInt(MEMORY_BYTES)
const whole = [GUEST_BASE, SIZE, USER_BASE, 0n] as const
const MAX = 2n ** 64n

function table(regions: readonly (readonly [bigint, bigint, bigint, bigint])[], count?: number) {
  return (guest: FakeGuest) =>
    guest.send(
      VhostRequest.SET_MEM_TABLE,
      memTable(regions, count),
      regions.map(() => guest.memory),
    )
}

function memoryOf(make: () => number) {
  return (guest: FakeGuest) => guest.send(VhostRequest.SET_MEM_TABLE, memTable([whole]), [opened(make())])
}

describe('messages', () => {
  const said = (request: number, payload?: Uint8Array, flags?: number) => (guest: FakeGuest) =>
    guest.send(request, payload, [], flags)
  refuses(
    [
      {
        title: 'another version',
        reason: /impossible flags/,
        act: said(VhostRequest.SET_OWNER, undefined, 2),
      },
      { title: 'a reply', reason: /impossible flags/, act: said(VhostRequest.SET_OWNER, undefined, 5) },
      { title: 'a request that does not exist', reason: /request 9999 was not/, act: said(9999) },
      {
        title: 'a request that was not agreed on',
        reason: /request 24 was not/,
        act: said(24, Buffer.alloc(12)),
      },
      {
        title: 'more than any message has',
        reason: /4294967295 bytes/,
        act: (guest) => guest.sendBytes(u32s(1, 1, 0xffffffff)),
      },
      {
        title: 'too short',
        reason: /SET_FEATURES has 4 bytes/,
        act: said(VhostRequest.SET_FEATURES, u32s(0)),
      },
      {
        title: 'too long',
        reason: /GET_FEATURES has 8 bytes/,
        act: said(VhostRequest.GET_FEATURES, u64(0n)),
      },
      {
        title: 'a descriptor where none belongs',
        reason: /SET_OWNER has 1 desc/,
        act: (guest) => guest.send(VhostRequest.SET_OWNER, undefined, [guest.memory]),
      },
      {
        title: 'more descriptors than any message has',
        reason: /more than 8 descriptors/,
        act: (guest) =>
          guest.send(VhostRequest.SET_MEM_TABLE, memTable([whole]), new Array(9).fill(guest.memory)),
      },
      {
        title: 'features that were not offered',
        reason: /not offered/,
        act: said(VhostRequest.SET_FEATURES, u64(1n << 40n)),
      },
      {
        title: 'protocol features that were not offered',
        reason: /not offered/,
        act: said(VhostRequest.SET_PROTOCOL_FEATURES, u64(1n << 1n)),
      },
      {
        title: 'the feature that migration takes',
        reason: /migrated/,
        act: said(VhostRequest.SET_FEATURES, u64(FEATURES | Feature.LOG_ALL)),
      },
      { title: 'a log', reason: /migrated/, act: said(VhostRequest.SET_LOG_BASE, Buffer.alloc(16)) },
    ],
    async () => {},
  )

  test('a connection may end in the middle of a message', async () => {
    const before = openFiles()
    const guest = new FakeGuest(tree)
    guest.sendBytes(u32s(VhostRequest.SET_MEM_TABLE, 1, 40), [guest.memory])
    await guest[Symbol.asyncDispose]()
    expect(await guest.frontEnd.ended).toBeUndefined()
    expect(openFiles()).toBe(before)
  })
})

describe('memory', () => {
  refuses(
    [
      { title: 'no region', reason: /0 regions/, act: table([]) },
      { title: 'fewer descriptors than regions', reason: /2 regions .* 1 desc/, act: table([whole], 2) },
      {
        title: 'a table that is cut off',
        reason: /1 regions/,
        act: (guest) =>
          guest.send(VhostRequest.SET_MEM_TABLE, memTable([whole]).subarray(0, 39), [guest.memory]),
      },
      {
        title: 'a region of nothing',
        reason: /cannot be mapped: EINVAL/,
        act: table([[GUEST_BASE, 0n, USER_BASE, 0n]]),
      },
      {
        title: 'regions that overlap for the guest',
        reason: /EINVAL/,
        act: table([whole, [GUEST_BASE + SIZE - 1n, 4096n, USER_BASE + SIZE, 0n]]),
      },
      {
        title: 'regions that overlap for the front-end',
        reason: /EINVAL/,
        act: table([whole, [GUEST_BASE + SIZE, 4096n, USER_BASE + SIZE - 1n, 0n]]),
      },
      {
        title: 'a region around the end of the guest',
        reason: /EINVAL/,
        act: table([[MAX - 4096n, 8192n, USER_BASE, 0n]]),
      },
      {
        title: 'a region around the end of the front-end',
        reason: /EINVAL/,
        act: table([[GUEST_BASE, 8192n, MAX - 4096n, 0n]]),
      },
      {
        title: 'an offset around the end',
        reason: /EINVAL/,
        act: table([[GUEST_BASE, 8192n, USER_BASE, MAX - 4096n]]),
      },
      {
        title: 'a region behind the end of its file',
        reason: /EINVAL/,
        act: table([[GUEST_BASE, SIZE, USER_BASE, 4096n]]),
      },
      {
        title: 'a region larger than its file',
        reason: /EINVAL/,
        act: table([[GUEST_BASE, SIZE + 1n, USER_BASE, 0n]]),
      },
      {
        title: 'a file on disk',
        reason: /no memfd/,
        act: memoryOf(() => {
          const fd = openSync(join(folder, 'memory'), 'w+')
          ftruncateSync(fd, MEMORY_BYTES)
          return fd
        }),
      },
      { title: 'a folder', reason: /no memfd/, act: memoryOf(() => openSync('/dev/shm', 'r')) },
      { title: 'a device', reason: /no memfd/, act: memoryOf(() => openSync('/dev/zero', 'r+')) },
      { title: 'an eventfd', reason: /no memfd/, act: memoryOf(() => frontEndAddon.event(false)) },
    ],
    (guest) => guest.negotiate(),
  )
})

describe('queues that are set up', () => {
  const start = (change: (guest: FakeGuest) => void) => (guest: FakeGuest) => {
    guest.send(VhostRequest.SET_VRING_NUM, u32s(1, 64))
    guest.send(VhostRequest.SET_VRING_ADDR, guest.addresses(1))
    change(guest)
    guest.send(VhostRequest.SET_VRING_KICK, u64(1n), [opened(frontEndAddon.event(false))])
  }
  const at = (descriptors: bigint, used: bigint, available: bigint) =>
    start((guest) =>
      guest.send(
        VhostRequest.SET_VRING_ADDR,
        Buffer.concat([
          u32s(1, 0),
          ...[descriptors, used, available, 0n].map((value) => u64(BigInt.asUintN(64, value))),
        ]),
      ),
    )
  const fine = USER_BASE
  refuses(
    [
      {
        title: 'a queue that there is not',
        reason: /no queue 65/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_NUM, u32s(65, 64)),
      },
      {
        title: 'a kick for one that there is not',
        reason: /no queue 255/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_KICK, u64(255n), [guest.memory]),
      },
      {
        title: 'a call for one that there is not',
        reason: /no queue 255/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_CALL, u64(255n), [guest.memory]),
      },
      {
        title: 'a stop of one that there is not',
        reason: /no queue 4000000/,
        act: (guest) => guest.send(VhostRequest.GET_VRING_BASE, u32s(4_000_000, 0)),
      },
      ...[0, 3, 2048, 0xffffffff].map((size) => ({
        title: `a size of ${size}`,
        reason: /cannot lie/,
        act: start((guest) => guest.send(VhostRequest.SET_VRING_NUM, u32s(1, size))),
      })),
      {
        title: 'a base of 65,536',
        reason: /begins at 65536/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_BASE, u32s(1, 0x10000)),
      },
      { title: 'descriptors before the memory', reason: /cannot lie/, act: at(fine - 16n, fine, fine) },
      { title: 'descriptors behind the memory', reason: /cannot lie/, act: at(fine + SIZE, fine, fine) },
      { title: 'descriptors across the end', reason: /cannot lie/, act: at(fine + SIZE - 1008n, fine, fine) },
      {
        title: 'an available ring across the end',
        reason: /cannot lie/,
        act: at(fine, fine, fine + SIZE - 132n),
      },
      { title: 'a used ring across the end', reason: /cannot lie/, act: at(fine, fine + SIZE - 516n, fine) },
      { title: 'a ring around the end of all', reason: /cannot lie/, act: at(MAX - 16n, fine, fine) },
      { title: 'descriptors at an odd place', reason: /cannot lie/, act: at(fine + 8n, fine, fine) },
      { title: 'an available ring at an odd place', reason: /cannot lie/, act: at(fine, fine, fine + 1n) },
      { title: 'a used ring at an odd place', reason: /cannot lie/, act: at(fine, fine + 2n, fine) },
      {
        title: 'a log of a ring',
        reason: /migrated/,
        act: (guest) => {
          const bytes = guest.addresses(1)
          bytes[4] = 1
          guest.send(VhostRequest.SET_VRING_ADDR, bytes)
        },
      },
      {
        title: 'no addresses',
        reason: /without addresses/,
        act: (guest) =>
          guest.send(VhostRequest.SET_VRING_KICK, u64(1n), [opened(frontEndAddon.event(false))]),
      },
      {
        title: 'no kick',
        reason: /polled/,
        act: start((guest) => guest.send(VhostRequest.SET_VRING_KICK, u64(0x101n))),
      },
      {
        title: 'a kick that is no eventfd',
        reason: /no eventfd/,
        act: start((guest) => guest.send(VhostRequest.SET_VRING_KICK, u64(1n), [guest.memory])),
      },
      {
        title: 'a call that is no eventfd',
        reason: /no eventfd/,
        act: (guest) =>
          guest.send(VhostRequest.SET_VRING_CALL, u64(1n), [opened(openSync('/dev/null', 'w'))]),
      },
    ],
    async (guest) => {
      await guest.negotiate()
      guest.shareMemory()
    },
  )
  refuses([{ title: 'a start without memory', reason: /cannot lie/, act: start(() => {}) }], (guest) =>
    guest.negotiate(),
  )
  refuses(
    [
      {
        title: 'a second start',
        reason: /started twice/,
        act: (guest) =>
          guest.send(VhostRequest.SET_VRING_KICK, u64(1n), [opened(frontEndAddon.event(false))]),
      },
      {
        title: 'another size',
        reason: /while it runs/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_NUM, u32s(1, 32)),
      },
      {
        title: 'another base',
        reason: /while it runs/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_BASE, u32s(1, 0)),
      },
      {
        title: 'other addresses',
        reason: /while it runs/,
        act: (guest) => guest.send(VhostRequest.SET_VRING_ADDR, guest.addresses(1)),
      },
      {
        title: 'other memory, in which the rings are not',
        reason: /EFAULT/,
        act: table([[GUEST_BASE, 4096n, USER_BASE, 0n]]),
      },
    ],
    (guest) => guest.start(),
  )
})

describe('requests', () => {
  const statfs = frame(Opcode.STATFS, 1, 2n, Buffer.alloc(0))
  const inside = (offset: number) => GUEST_BASE + BigInt(offset)
  /** A request whose descriptors the case makes up; `at` is where a proper one lies. */
  const chain =
    (...descriptors: ((at: number) => { address: bigint; length: number; flags: number; next?: number })[]) =>
    (guest: FakeGuest) => {
      const at = guest.allocate(4096)
      guest.write(at, statfs)
      descriptors.forEach((make, i) => {
        guest.setDescriptor(1, i, make(at))
      })
      guest.offer(1, 0)
    }
  const header = (at: number) => ({ address: inside(at), length: 40, flags: DescFlag.next, next: 1 })
  const reply = (at: number) => ({ address: inside(at + 64), length: 96, flags: DescFlag.write })
  const { next, write, indirect } = DescFlag
  const table =
    (
      entries: (at: number) => readonly { address: bigint; length: number; flags: number; next?: number }[],
      length?: number,
      flags = 0,
    ) =>
    (guest: FakeGuest) => {
      const at = guest.allocate(4096)
      guest.write(at, statfs)
      const list = entries(at)
      list.forEach((entry, i) => {
        guest.write(at + 1024 + i * 16, descriptorBytes(entry))
      })
      guest.setDescriptor(1, 0, {
        address: inside(at + 1024),
        length: length ?? list.length * 16,
        flags: indirect | flags,
        next: 1,
      })
      guest.offer(1, 0)
    }
  refuses(
    [
      {
        title: 'more available than there is room for',
        reason: /further ahead/,
        act: (guest) => {
          guest.setAvailable(1, 66 + 1)
          guest.kick(1)
        },
      },
      {
        title: 'an index that goes back',
        reason: /further ahead/,
        act: (guest) => {
          guest.setAvailable(1, 0xffff)
          guest.kick(1)
        },
      },
      { title: 'a head outside the table', reason: /begins outside/, act: (guest) => guest.offer(1, 64) },
      { title: 'a head far outside', reason: /begins outside/, act: (guest) => guest.offer(1, 0xffff) },
      {
        title: 'a next outside the table',
        reason: /leads outside/,
        act: chain((at) => ({ ...header(at), next: 64 }), reply),
      },
      {
        title: 'a descriptor that follows itself',
        reason: /does not end/,
        act: chain((at) => ({ ...header(at), next: 0 })),
      },
      {
        title: 'a loop of two',
        reason: /does not end/,
        act: chain(header, (at) => ({ ...header(at), next: 0 })),
      },
      {
        title: 'a loop of buffers to write',
        reason: /does not end/,
        act: chain(header, (at) => ({ ...reply(at), flags: write | next, next: 1 })),
      },
      {
        title: 'an empty buffer',
        reason: /is empty/,
        act: chain((at) => ({ ...header(at), length: 0 }), reply),
      },
      {
        title: 'an empty buffer to write',
        reason: /is empty/,
        act: chain(header, (at) => ({ ...reply(at), length: 0 })),
      },
      {
        title: 'a buffer before the memory',
        reason: /outside the memory/,
        act: chain(() => ({ ...header(0), address: GUEST_BASE - 1n }), reply),
      },
      {
        title: 'a buffer behind the memory',
        reason: /outside the memory/,
        act: chain(() => ({ ...header(0), address: GUEST_BASE + SIZE }), reply),
      },
      {
        title: 'a buffer across the end',
        reason: /outside the memory/,
        act: chain(() => ({ ...header(0), address: GUEST_BASE + SIZE - 39n }), reply),
      },
      {
        title: 'a buffer around the end of all',
        reason: /outside the memory/,
        act: chain(() => ({ ...header(0), address: MAX - 8n }), reply),
      },
      {
        title: 'a buffer of 4 GiB',
        reason: /outside the memory/,
        act: chain(header, (at) => ({ ...reply(at), length: 0xffffffff })),
      },
      {
        title: 'a buffer at an address of the front-end',
        reason: /outside the memory/,
        act: chain(() => ({ ...header(0), address: USER_BASE }), reply),
      },
      {
        title: 'a reply across the end',
        reason: /outside the memory/,
        act: chain(header, () => ({ ...reply(0), address: GUEST_BASE + SIZE - 95n })),
      },
      {
        title: 'a buffer to read behind one to write',
        reason: /follows one to write/,
        act: chain(
          (at) => ({ ...reply(at), flags: write | next, next: 1 }),
          (at) => ({ ...header(at), flags: 0 }),
        ),
      },
      {
        title: 'an indirect table in an indirect table',
        reason: /in an indirect table/,
        act: table((at) => [{ address: inside(at + 1024), length: 16, flags: indirect }]),
      },
      {
        title: 'something behind an indirect table',
        reason: /follows an indirect table/,
        act: table((at) => [reply(at)], 16, next),
      },
      { title: 'an indirect table of nothing', reason: /impossible length/, act: table(() => [], 0) },
      {
        title: 'an indirect table of half an entry',
        reason: /impossible length/,
        act: table((at) => [reply(at)], 24),
      },
      {
        title: 'an indirect table of 1,025 entries',
        reason: /impossible length/,
        act: table((at) => [reply(at)], 1025 * 16),
      },
      {
        title: 'an indirect table of 4 GiB',
        reason: /impossible length/,
        act: table((at) => [reply(at)], 0xfffffff0),
      },
      {
        title: 'an indirect table outside the memory',
        reason: /table lies outside/,
        act: (guest) => {
          guest.setDescriptor(1, 0, { address: GUEST_BASE + SIZE - 8n, length: 16, flags: indirect })
          guest.offer(1, 0)
        },
      },
      {
        title: 'a next outside an indirect table',
        reason: /leads outside/,
        act: table((at) => [{ ...header(at), next: 2 }, reply(at)]),
      },
      {
        title: 'a loop in an indirect table',
        reason: /does not end/,
        act: table((at) => [
          { ...header(at), next: 1 },
          { ...header(at), next: 0 },
        ]),
      },
      {
        title: 'no room for the header of a reply',
        reason: /no room/,
        act: chain(header, (at) => ({ ...reply(at), length: 15 })),
      },
      {
        title: 'no room for a reply at all',
        reason: /no room/,
        act: chain((at) => ({ ...header(at), flags: 0 })),
      },
      {
        title: 'less than a header',
        reason: /shorter than its header/,
        act: chain((at) => ({ ...header(at), length: 39 }), reply),
      },
      { title: 'nothing to read', reason: /shorter than its header/, act: chain(reply) },
      {
        title: 'a header that says more than there is',
        reason: /length in the header/,
        act: (guest) => {
          statfsLength(guest, 41)
        },
      },
      {
        title: 'a header that says less than itself',
        reason: /length in the header/,
        act: (guest) => {
          statfsLength(guest, 39)
        },
      },
      {
        title: 'a FORGET of 100 KiB',
        reason: /too long/,
        act: (guest) => {
          guest.post(Opcode.BATCH_FORGET, 1, Buffer.alloc(100_000), 0)
        },
      },
      {
        title: 'memory that is taken away',
        reason: /taken away/,
        act: (guest) => {
          guest.truncate()
          guest.kick(1)
        },
      },
    ],
    async (guest) => {
      await guest.start()
      await guest.init()
    },
  )

  function statfsLength(guest: FakeGuest, length: number): void {
    const at = guest.allocate(4096)
    guest.write(at, statfs)
    guest.write(at, u32s(length))
    guest.setDescriptor(1, 0, header(at))
    guest.setDescriptor(1, 1, reply(at))
    guest.offer(1, 0)
  }

  refuses(
    [
      {
        title: 'an indirect table though that was not agreed on',
        reason: /not agreed/,
        options: { features: FEATURES & ~Feature.INDIRECT_DESC },
        act: table((at) => [header(at), reply(at)]),
      },
    ],
    async (guest) => {
      await guest.start()
      await guest.init()
    },
  )

  /** Cases in which a read waits, and the reply meets what changed. */
  const whileReading = (change: (guest: FakeGuest) => unknown) => async (guest: FakeGuest) => {
    const { body } = await guest.request(Opcode.LOOKUP, 1, nameBody('hello'), 144)
    guest.post(Opcode.READ, Number(body.readBigUInt64LE(0)), readBody(0, 13), 29)
    await until(() => tree.waiting.length === 1)
    await change(guest)
    for (const go of tree.waiting.splice(0)) go()
  }
  refuses(
    [
      {
        title: 'memory that is taken away before the reply',
        reason: /taken away/,
        act: whileReading((guest) => guest.truncate()),
      },
      {
        title: 'a request that is made again before its reply',
        reason: /again/,
        act: whileReading(async (guest) => {
          guest.offer(1, 0)
          await guest.frontEnd.ended
        }),
      },
      {
        title: 'memory without the buffer of the reply',
        reason: /outside the memory/,
        act: whileReading(async (guest) => {
          guest.send(VhostRequest.SET_MEM_TABLE, memTable([[GUEST_BASE, 0x100000n, USER_BASE, 0n]]), [
            guest.memory,
          ])
          await guest.ask(VhostRequest.GET_QUEUE_NUM)
        }),
      },
    ],
    async (guest) => {
      await guest.start()
      await guest.init()
    },
  )
})
