import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Errno, Opcode } from '../../../../src/mount/fuse/protocol.ts'
import { FuseSession } from '../../../../src/mount/fuse/session.ts'
import { TreeFault } from '../../../../src/mount/tree/interface.ts'
import { ERROR_TABLE, type ErrorCode, StoreError } from '../../../../src/support/errors.ts'
import {
  FUSE_REQUESTS_PER_TURN,
  MOUNT_DEADLINE_MEMORY_MS,
  MOUNT_INTERRUPT_GRACE_MS,
  MOUNT_ROOT_LISTING_MS,
} from '../../../../src/support/limits.ts'
import { directory, file } from '../../../posix/sample.ts'
import { FakeDevice, frame, nameBody, readBody, u64s, xattrBody } from '../../../support/fake-device.ts'
import { FakeTree } from '../../../support/fake-tree.ts'
import { ErrorLog, SAMPLE, serve } from './harness.ts'

const FOREVER = 2n ** 40n
const ROOT = 1

describe('INIT', () => {
  it('asks of a current kernel what performance.md §2.8 recommends', () => {
    const device = new FakeDevice()
    const log = new ErrorLog()
    const session = new FuseSession(device, new FakeTree(SAMPLE), {
      owner: { uid: 0, gid: 0 },
      showXattr: true,
      negativeMs: 1000,
      callMs: 1000,
      logger: log.logger,
    })
    session.start()
    const { error, body } = device.init()
    expect(error).toBe(0)
    expect(body.length).toBe(64)
    expect([body.readUInt32LE(0), body.readUInt32LE(4)]).toEqual([7, 45])
    expect(body.readUInt32LE(8)).toBe(131_072)
    const bits = [0, 13, 17, 18, 22, 23, 24, 25, 30].reduce((flags, bit) => flags + 2 ** bit, 0)
    expect(body.readUInt32LE(12)).toBe(bits)
    expect([body.readUInt16LE(16), body.readUInt16LE(18)]).toEqual([128, 96])
    expect([body.readUInt32LE(20), body.readUInt32LE(24)]).toEqual([4096, 1])
    expect([body.readUInt16LE(28), body.readUInt32LE(32)]).toEqual([256, 1 << 6])
    return expect(session.ready).resolves.toBeUndefined()
  })

  it('never asks for what the kernel does not offer', () => {
    const { device } = serve()
    const { body } = device.init({ minor: 31, flags: 1 | (1 << 22), flags2: 0xffff_ffff })
    expect([body.readUInt32LE(4), body.readUInt32LE(12), body.readUInt32LE(32)]).toEqual([
      31,
      1 | (1 << 22),
      0,
    ])
  })

  it('names only its version to a newer major', () => {
    const { device } = serve()
    const { error, body } = device.init({ major: 8 })
    expect(error).toBe(0)
    expect([body.length, body.readUInt32LE(0), body.readUInt32LE(4)]).toEqual([8, 7, 45])
  })

  it.each([
    { major: 6, minor: 45 },
    { major: 7, minor: 22 },
  ])('refuses $major.$minor with EPROTO', (version) => {
    expect(serve().device.init(version)).toMatchObject({ error: -Errno.EPROTO })
  })

  it('leaves OPEN and OPENDIR to kernels that can do without them', () => {
    const { device } = serve()
    expect(device.ask(Opcode.OPEN, 3, u64s(0)).error).toBe(-Errno.ENOSYS)
    expect(device.ask(Opcode.OPENDIR, ROOT, u64s(0)).error).toBe(-Errno.ENOSYS)
    device.init({ flags: 1 })
    expect(device.ask(Opcode.OPEN, 3, u64s(0)).body.readUInt32LE(8)).toBe(1 << 1)
    expect(device.ask(Opcode.OPENDIR, ROOT, u64s(0)).body.readUInt32LE(8)).toBe((1 << 1) | (1 << 3))
  })
})

describe('LOOKUP', () => {
  it('answers with attributes that hold for ever, and counts one reference', () => {
    const { device, tree } = serve()
    const { error, body } = device.ask(Opcode.LOOKUP, ROOT, nameBody('hello'))
    expect(error).toBe(0)
    expect(body.length).toBe(128)
    expect([body.readBigUInt64LE(16), body.readBigUInt64LE(24)]).toEqual([FOREVER, FOREVER])
    const attr = body.subarray(40)
    expect(attr.readBigUInt64LE(0)).toBe(tree.getattr(Number(body.readBigUInt64LE(0))).ino)
    expect([attr.readBigUInt64LE(8), attr.readBigUInt64LE(16)]).toEqual([13n, 1n])
    expect([attr.readBigUInt64LE(24), attr.readBigUInt64LE(32), attr.readBigUInt64LE(40)]).toEqual([
      0n,
      1n,
      0n,
    ])
    expect([attr.readUInt32LE(60), attr.readUInt32LE(64), attr.readUInt32LE(80)]).toEqual([0o100444, 1, 4096])
    expect(tree.references).toBe(1)
  })

  it.each([
    ['folder', 0o040555],
    ['hello', 0o100444],
    ['run', 0o100555],
    ['link', 0o120444],
  ])('gives %s mode %o', (name, mode) => {
    const { body } = serve().device.ask(Opcode.LOOKUP, ROOT, nameBody(name))
    expect(body.readUInt32LE(40 + 60)).toBe(mode)
  })

  it('lets everything belong to the owner of the mount', () => {
    const { device } = serve(new FakeTree(SAMPLE), { owner: { uid: 7, gid: 4_000_000_000 } })
    const { body } = device.ask(Opcode.LOOKUP, ROOT, nameBody('hello'))
    expect([body.readUInt32LE(40 + 68), body.readUInt32LE(40 + 72)]).toEqual([7, 4_000_000_000])
  })

  it('lets the kernel remember an absence: for a moment in the root, for ever below', () => {
    const { device } = serve()
    const inRoot = device.ask(Opcode.LOOKUP, ROOT, nameBody('absent'))
    expect(inRoot.error).toBe(0)
    expect(inRoot.body.readBigUInt64LE(0)).toBe(0n)
    expect([inRoot.body.readBigUInt64LE(16), inRoot.body.readUInt32LE(32)]).toEqual([1n, 500_000_000])
    const folder = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('folder')).body.readBigUInt64LE(0))
    const below = device.ask(Opcode.LOOKUP, folder, nameBody('absent'))
    expect([below.error, below.body.readBigUInt64LE(0), below.body.readBigUInt64LE(16)]).toEqual([
      0,
      0n,
      FOREVER,
    ])
  })

  it('answers ENOENT where nothing may be remembered', () => {
    const { device } = serve(new FakeTree(SAMPLE), { negativeMs: 0 })
    expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('absent')).error).toBe(-Errno.ENOENT)
  })

  it('tells names that are too long from absent ones', () => {
    const { device } = serve()
    expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('n'.repeat(256))).error).toBe(-Errno.ENAMETOOLONG)
    expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('n'.repeat(255))).error).toBe(0)
  })

  it('takes the reference back when the kernel no longer wants the answer', () => {
    const { device, tree } = serve()
    const unique = device.nextUnique()
    device.refused.add(unique)
    device.queue(frame(Opcode.LOOKUP, ROOT, unique, nameBody('hello')))
    device.wake()
    expect(device.replyTo(unique)).toBeUndefined()
    expect(tree.references).toBe(0)
  })
})

describe('FORGET', () => {
  it('gives references back, one inode or many at a time, and is not answered', () => {
    const { device, tree } = serve()
    const names = ['hello', 'run', 'run']
    const inodes = names.map((name) =>
      device.ask(Opcode.LOOKUP, ROOT, nameBody(name)).body.readBigUInt64LE(0),
    )
    const before = device.replies.length
    device.request(Opcode.FORGET, Number(inodes[0]), u64s(1))
    expect(tree.references).toBe(2)
    device.request(Opcode.BATCH_FORGET, 0, u64s(1, inodes[1]!, 2))
    expect(tree.references).toBe(0)
    expect(device.replies.length).toBe(before)
  })

  it('believes the length of a request, not the count in it', () => {
    const { device, tree } = serve()
    const inode = device.ask(Opcode.LOOKUP, ROOT, nameBody('hello')).body.readBigUInt64LE(0)
    device.request(Opcode.BATCH_FORGET, 0, u64s(1_000_000, inode, 1))
    expect(tree.references).toBe(0)
  })
})

describe('READ', () => {
  it('passes the pieces on as they are', async () => {
    const { device, tree } = serve()
    const inode = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('hello')).body.readBigUInt64LE(0))
    const { error, body } = device.ask(Opcode.READ, inode, readBody(2, 6))
    expect([error, body.toString()]).toEqual([0, 'llo, w'])
    const [contents] = await tree.read(inode, 0, 13)
    expect(device.pieces.every((piece) => piece.buffer === contents!.buffer)).toBe(true)
  })

  it('gives less at the end of the file and nothing behind it', () => {
    const { device } = serve()
    const inode = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('hello')).body.readBigUInt64LE(0))
    expect(device.ask(Opcode.READ, inode, readBody(7, 4096)).body.toString()).toBe('world\n')
    expect(device.ask(Opcode.READ, inode, readBody(4096, 4096))).toMatchObject({
      error: 0,
      body: Buffer.alloc(0),
    })
  })

  it('counts the bytes', () => {
    const { device, session } = serve()
    const inode = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('hello')).body.readBigUInt64LE(0))
    device.ask(Opcode.READ, inode, readBody(0, 4096))
    expect(session.stats.snapshot()).toMatchObject({
      bytesRead: 13,
      requests: { INIT: 1, LOOKUP: 1, READ: 1 },
    })
  })

  it('refuses an offset that is no file offset', () => {
    const { device } = serve()
    const body = readBody(0, 10)
    body.writeBigUInt64LE(2n ** 60n, 8)
    expect(device.ask(Opcode.READ, 3, body).error).toBe(-Errno.EINVAL)
  })
})

describe('the rest', () => {
  it('GETATTR, READLINK and STATFS', () => {
    const { device } = serve()
    const root = device.ask(Opcode.GETATTR, ROOT, u64s(0, 0)).body
    expect([root.length, root.readBigUInt64LE(0), root.readUInt32LE(16 + 60)]).toEqual([
      104,
      FOREVER,
      0o040555,
    ])
    const link = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('link')).body.readBigUInt64LE(0))
    expect(device.ask(Opcode.READLINK, link).body.toString()).toBe('hello')
    expect(device.ask(Opcode.READLINK, ROOT).error).toBe(-Errno.EINVAL)
    const { body } = device.ask(Opcode.STATFS, ROOT)
    expect([body.length, body.readBigUInt64LE(0), body.readUInt32LE(40), body.readUInt32LE(44)]).toEqual([
      80,
      1000n,
      4096,
      255,
    ])
  })

  it('extended attributes: probe, value, list, ERANGE, ENODATA', () => {
    const { device } = serve()
    const inode = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('hello')).body.readBigUInt64LE(0))
    const get = (size: number, name = 'user.sample.size') =>
      device.ask(Opcode.GETXATTR, inode, xattrBody(size, name))
    expect(get(0).body.readUInt32LE(0)).toBe(2)
    expect(get(2).body.toString()).toBe('13')
    expect(get(1).error).toBe(-Errno.ERANGE)
    expect(get(100, 'user.other').error).toBe(-Errno.ENODATA)
    const list = (size: number) => device.ask(Opcode.LISTXATTR, inode, xattrBody(size))
    expect(list(0).body.readUInt32LE(0)).toBe(17)
    expect(list(17).body.toString()).toBe('user.sample.size\0')
    expect(list(16).error).toBe(-Errno.ERANGE)
    expect(device.ask(Opcode.LISTXATTR, ROOT, xattrBody(100))).toMatchObject({
      error: 0,
      body: Buffer.alloc(0),
    })
  })

  it('has no extended attributes when they are off', () => {
    const { device } = serve(new FakeTree(SAMPLE), { showXattr: false })
    expect(device.ask(Opcode.GETXATTR, 3, xattrBody(0, 'user.sample.size')).error).toBe(-Errno.ENOSYS)
    expect(device.ask(Opcode.LISTXATTR, 3, xattrBody(0)).error).toBe(-Errno.ENOSYS)
  })

  it.each(['FLUSH', 'ACCESS', 'LSEEK', 'STATX', 'FSYNC', 'BMAP', 'POLL', 'IOCTL'] as const)(
    'leaves %s to the kernel',
    (name) => {
      expect(serve().device.ask(Opcode[name], 3, Buffer.alloc(64)).error).toBe(-Errno.ENOSYS)
    },
  )

  it.each(['WRITE', 'SETATTR', 'MKDIR', 'UNLINK', 'RENAME2', 'CREATE', 'TMPFILE', 'SETXATTR'] as const)(
    'refuses %s with EROFS',
    (name) => {
      expect(serve().device.ask(Opcode[name], 3, Buffer.alloc(64)).error).toBe(-Errno.EROFS)
    },
  )

  it('answers an opcode of the future with ENOSYS', () => {
    const { device, session } = serve()
    expect(device.ask(4_000_000_000, ROOT).error).toBe(-Errno.ENOSYS)
    expect(session.stats.snapshot().requests['#64']).toBe(1)
  })

  it('answers a body that is too short with EINVAL', () => {
    const { device } = serve()
    expect(device.ask(Opcode.READ, 3, Buffer.alloc(23)).error).toBe(-Errno.EINVAL)
    expect(device.ask(Opcode.LOOKUP, ROOT, Buffer.from('no-nul')).error).toBe(-Errno.EINVAL)
    expect(device.ask(Opcode.LOOKUP, ROOT).error).toBe(-Errno.EINVAL)
  })

  it('does not serve more than its share in one turn', () => {
    const { device } = serve()
    const before = device.replies.length
    for (let i = 0; i < FUSE_REQUESTS_PER_TURN + 5; i++)
      device.queue(frame(Opcode.STATFS, ROOT, BigInt(1000 + i), Buffer.alloc(0)))
    device.wake()
    expect([device.replies.length - before, device.waiting]).toEqual([FUSE_REQUESTS_PER_TURN, 5])
    device.wake()
    expect(device.waiting).toBe(0)
  })
})

/** A tree whose lookup fails as told. */
class FailingTree extends FakeTree {
  readonly #error: unknown

  constructor(error: unknown) {
    super(SAMPLE)
    this.#error = error
  }

  override lookup(): never {
    throw this.#error
  }
}

describe('errors', () => {
  const codes = Object.keys(ERROR_TABLE) as ErrorCode[]

  it.each(codes)('%s becomes the errno of the table, at once and later', async (code) => {
    const error = new StoreError(code, 'for a reason')
    const { device } = serve(new FailingTree(error))
    expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('x')).error).toBe(-ERROR_TABLE[code].errno)
    const later = serve(new WaitingTree())
    const unique = later.device.request(Opcode.LOOKUP, ROOT, nameBody('x'))
    later.tree.waits[0]!.reject(error)
    await settled()
    expect(later.device.replyTo(unique)?.error).toBe(-ERROR_TABLE[code].errno)
  })

  it.each(['ENOENT', 'ENOTDIR', 'EISDIR', 'EINVAL', 'EPERM', 'ESTALE'] as const)(
    '%s stays itself',
    (code) => {
      const { device, log } = serve(new FailingTree(new TreeFault(code)))
      expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('x')).error).toBe(-Errno[code])
      expect(log.lines).toEqual([])
    },
  )

  it('logs every EIO with what the error says, and counts it', () => {
    const { device, log, session } = serve(
      new FailingTree(new StoreError('corrupt', 'blob b3:xyz is not itself')),
    )
    device.ask(Opcode.LOOKUP, ROOT, nameBody('x'))
    expect(log.lines).toEqual(['LOOKUP of inode 1 failed: blob b3:xyz is not itself'])
    expect(session.stats.snapshot().errors).toEqual({ EIO: 1 })
  })

  it('makes EIO of what nobody foresaw', () => {
    const { device, log } = serve(new FailingTree(new TypeError('oops')))
    expect(device.ask(Opcode.LOOKUP, ROOT, nameBody('x')).error).toBe(-Errno.EIO)
    expect(log.lines).toEqual(['LOOKUP of inode 1 failed: oops'])
  })
})

/** A tree whose lookups and reads wait until the test lets them go. */
class WaitingTree extends FakeTree {
  readonly waits: (PromiseWithResolvers<void> & { signal: AbortSignal | undefined })[] = []

  constructor() {
    super(directory({ hello: file('hello'), other: file('other') }))
  }

  override lookup(...args: Parameters<FakeTree['lookup']>) {
    return this.#wait(args[2]?.signal).then(() => super.lookup(...args))
  }

  override read(...args: Parameters<FakeTree['read']>) {
    return this.#wait(args[3]?.signal).then(() => super.read(...args))
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    const wait = { ...Promise.withResolvers<void>(), signal }
    this.waits.push(wait)
    return wait.promise
  }
}

/** Until everything that has been resolved was passed on. */
async function settled(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve()
}

describe('waiting', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('serves others while one waits, and answers each with its own', async () => {
    const { device, tree, session } = serve(new WaitingTree())
    const first = device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    const second = device.request(Opcode.LOOKUP, ROOT, nameBody('absent'))
    expect(device.ask(Opcode.STATFS, ROOT).error).toBe(0)
    expect(session.inFlight).toBe(2)
    tree.waits[1]!.resolve()
    await settled()
    expect(device.replyTo(first)).toBeUndefined()
    expect(device.replyTo(second)?.body.readBigUInt64LE(0)).toBe(0n)
    tree.waits[0]!.resolve()
    await settled()
    expect(device.replyTo(first)?.body.readBigUInt64LE(40 + 8)).toBe(5n)
    expect(session.inFlight).toBe(0)
  })

  it('an INTERRUPT ends the call with EINTR after its grace, and what comes later is given back', async () => {
    const { device, tree } = serve(new WaitingTree())
    const unique = device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    const replies = device.replies.length
    device.request(Opcode.INTERRUPT, 0, u64s(unique))
    vi.advanceTimersByTime(MOUNT_INTERRUPT_GRACE_MS - 1)
    expect(device.replies.length).toBe(replies)
    vi.advanceTimersByTime(1)
    expect(device.replies.slice(replies).map((reply) => [reply.unique, reply.error])).toEqual([
      [unique, -Errno.EINTR],
    ])
    expect(tree.waits[0]!.signal!.aborted).toBe(true)
    tree.waits[0]!.resolve()
    await settled()
    expect(device.replies.length).toBe(replies + 1)
    expect(tree.references).toBe(0)
  })

  it('an answer that comes soon after an INTERRUPT is given, and no EINTR follows', async () => {
    const { device, tree } = serve(new WaitingTree())
    const unique = device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    device.request(Opcode.INTERRUPT, 0, u64s(unique))
    tree.waits[0]!.resolve()
    await settled()
    expect(device.replyTo(unique)?.error).toBe(0)
    const replies = device.replies.length
    vi.advanceTimersByTime(2 * MOUNT_INTERRUPT_GRACE_MS)
    expect(device.replies.length).toBe(replies)
    expect(tree.references).toBe(1)
  })

  it('an INTERRUPT that comes too late, or for nobody, changes nothing', () => {
    const { device } = serve()
    const { unique } = device.ask(Opcode.STATFS, ROOT)
    const replies = device.replies.length
    device.request(Opcode.INTERRUPT, 0, u64s(unique))
    device.request(Opcode.INTERRUPT, 0, u64s(2n ** 63n + 5n))
    device.request(Opcode.INTERRUPT, 0, Buffer.alloc(3))
    expect(device.replies.length).toBe(replies)
  })

  it('a read that the kernel repeats after its deadline fails at once, a later one is tried again', async () => {
    const { device, tree } = serve(new WaitingTree(), { callMs: 5000 })
    const waits = () => tree.waits.length
    const first = device.request(Opcode.READ, 5, readBody(0, 4096))
    vi.advanceTimersByTime(5000)
    expect(device.replyTo(first)?.error).toBe(-Errno.ETIMEDOUT)
    const asked = waits()
    expect(device.ask(Opcode.READ, 5, readBody(0, 4096)).error).toBe(-Errno.ETIMEDOUT)
    expect(waits()).toBe(asked)
    vi.advanceTimersByTime(MOUNT_DEADLINE_MEMORY_MS)
    device.request(Opcode.READ, 5, readBody(0, 4096))
    expect(waits()).toBe(asked + 1)
  })

  it('no call outlives its deadline', async () => {
    const { device, tree, log, session } = serve(new WaitingTree(), { callMs: 5000 })
    const unique = device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    vi.advanceTimersByTime(4999)
    expect(device.replyTo(unique)).toBeUndefined()
    vi.advanceTimersByTime(1)
    expect(device.replyTo(unique)?.error).toBe(-Errno.ETIMEDOUT)
    expect(log.lines).toEqual(['LOOKUP of inode 1 failed: the store gave no answer within 5 s'])
    expect(tree.waits[0]!.signal!.reason).toMatchObject({ code: 'deadline' })
    expect(session.inFlight).toBe(0)
    tree.waits[0]!.resolve()
    await settled()
    expect(tree.references).toBe(0)
  })

  it('copies an opaque unique above 2^53 bit by bit', async () => {
    const { device, tree } = serve(new WaitingTree())
    const unique = 0x8765_4321_0fed_cba9n
    device.queue(frame(Opcode.LOOKUP, ROOT, unique, nameBody('hello')))
    device.wake()
    tree.waits[0]!.resolve()
    await settled()
    expect(device.replyTo(unique)?.error).toBe(0)
  })

  it('a request keeps its name while others come in', async () => {
    const { device, tree } = serve(new WaitingTree())
    const unique = device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    device.request(Opcode.LOOKUP, ROOT, nameBody('zzzzzzzzz'))
    tree.waits[0]!.resolve()
    await settled()
    expect(device.replyTo(unique)?.body.readBigUInt64LE(0)).not.toBe(0n)
  })

  it('closing aborts what waits, answers nothing more and tells once', async () => {
    const { device, tree, session } = serve(new WaitingTree())
    device.request(Opcode.LOOKUP, ROOT, nameBody('hello'))
    const replies = device.replies.length
    device.disconnect()
    session.close()
    await session.closed
    expect([device.closed, session.inFlight, tree.waits[0]!.signal!.aborted]).toEqual([true, 0, true])
    tree.waits[0]!.resolve()
    await settled()
    expect([device.replies.length, tree.references]).toEqual([replies, 0])
  })

  it('says so when the kernel leaves before INIT', async () => {
    const device = new FakeDevice()
    const session = new FuseSession(device, new FakeTree(SAMPLE), {
      owner: { uid: 0, gid: 0 },
      showXattr: true,
      negativeMs: 0,
      callMs: 1000,
      logger: new ErrorLog().logger,
    })
    session.start()
    device.disconnect()
    await expect(session.ready).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('has the kernel forget a name in the root, beside the replies that it may wait for', async () => {
    const { device, session } = serve()
    const replies = device.replies.length
    session.forgetRootEntry(Buffer.from('hello'))
    expect(device.replies).toHaveLength(replies)
    const header = Buffer.alloc(16)
    header.writeUInt32LE(16 + 16 + 6, 0)
    header.writeInt32LE(3, 4)
    const body = Buffer.alloc(16)
    body.writeBigUInt64LE(1n, 0)
    body.writeUInt32LE(5, 8)
    expect(device.aside).toEqual([Buffer.concat([header, body, nameBody('hello')])])
  })

  it('drops the kernel’s copy of the root listing a moment after it was given out', () => {
    const { device } = serve()
    const folder = Number(device.ask(Opcode.LOOKUP, ROOT, nameBody('folder')).body.readBigUInt64LE(0))
    device.ask(Opcode.READDIRPLUS, folder, readBody(0, 4096))
    vi.advanceTimersByTime(MOUNT_ROOT_LISTING_MS * 2)
    expect(device.replies.filter((reply) => reply.unique === 0n)).toEqual([])
    device.ask(Opcode.READDIRPLUS, ROOT, readBody(0, 4096))
    device.ask(Opcode.READDIRPLUS, ROOT, readBody(4, 4096))
    vi.advanceTimersByTime(MOUNT_ROOT_LISTING_MS)
    const notices = device.replies.filter((reply) => reply.unique === 0n)
    expect(notices).toEqual([{ unique: 0n, error: 2, body: u64s(1, 0, 0) }])
  })
})
