/**
 * A virtual machine that is none: it has memory, virtqueues and a vhost-user connection, and speaks to a FrontEnd of ours
 * in this process. It checks every reply as strictly as Linux 7 does (fs/fuse/virtio_fs.c), and can be told to lie.
 */
import { closeSync, ftruncateSync, readSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { nativeAddon } from '../../../src/mount/fuse/native-addon.ts'
import { Opcode } from '../../../src/mount/fuse/protocol.ts'
import type { SessionOptions } from '../../../src/mount/fuse/session.ts'
import type { Tree } from '../../../src/mount/tree/interface.ts'
import { FrontEnd } from '../../../src/mount/virtiofs/front-end.ts'
import type { GuestCompany } from '../../../src/mount/virtiofs/guest-patience.ts'
import { FEATURES, HEADER, PROTOCOL_FEATURES, VhostRequest } from '../../../src/mount/virtiofs/protocol.ts'
import { vhostAddon } from '../../../src/mount/virtiofs/vhost-addon.ts'
import { silentLogger } from '../../../src/support/log.ts'
import { until } from '../cli.ts'
import { frame, initBody } from '../fake-device.ts'
import { checkReply } from './strict-replies.ts'

interface FrontEndAddon {
  memory(bytes: number): number
  /** An eventfd. */
  event(blocks: boolean): number
  send(socket: number, bytes: Uint8Array, files: Int32Array): number
}

export const frontEndAddon = createRequire(import.meta.url)(
  '../../../native/build/test_front_end.node',
) as FrontEndAddon

export const MEMORY_BYTES = 8 * 1024 * 1024
/** Where the guest and where its front-end have the memory. */
export const GUEST_BASE = 0x4000_0000n
export const USER_BASE = 0x7f00_0000_0000n
/** Of each queue: descriptors, available ring, used ring. */
const QUEUE_BYTES = 0x10000
const AVAILABLE = 0x5000
const USED = 0x8000
/** Buffers begin here. */
const HEAP = 0x100000
const QUEUES = 3

export const DescFlag = { next: 1, write: 2, indirect: 4 } as const

export interface Descriptor {
  readonly address: bigint
  readonly length: number
  readonly flags: number
  readonly next?: number
}

export interface FakeGuestOptions {
  readonly size?: number
  readonly features?: bigint
  readonly queues?: number
  readonly session?: Partial<SessionOptions>
  readonly company?: GuestCompany
}

export class FakeGuest implements AsyncDisposable {
  readonly socket: number
  readonly memory: number
  readonly frontEnd: FrontEnd
  readonly size: number
  readonly features: bigint
  readonly queues: number
  readonly kicks: number[] = []
  readonly calls: number[] = []
  readonly #available: number[]
  readonly #seen: number[]
  #heap = HEAP
  #unique = 0n

  constructor(
    tree: Tree,
    { size = 64, features = FEATURES, queues = QUEUES, session, company }: FakeGuestOptions = {},
  ) {
    const ends = new Int32Array(2)
    if (nativeAddon().socketPair(ends) < 0) throw new Error('no socket pair')
    this.socket = ends[0]!
    this.size = size
    this.features = features
    this.queues = queues
    this.memory = frontEndAddon.memory(MEMORY_BYTES)
    this.#available = new Array(queues).fill(0)
    this.#seen = new Array(queues).fill(0)
    const options = {
      owner: { uid: 0, gid: 0 },
      showXattr: true,
      negativeMs: 1000,
      callMs: 60_000,
      logger: silentLogger,
      ...session,
    }
    this.frontEnd = new FrontEnd(ends[1]!, tree, options, company)
  }

  /** A guest that has negotiated, started its queues and mounted. */
  static async mounted(tree: Tree, options?: FakeGuestOptions): Promise<FakeGuest> {
    const guest = new FakeGuest(tree, options)
    await guest.start()
    await guest.init()
    return guest
  }

  async start(): Promise<void> {
    await this.negotiate()
    this.shareMemory()
    for (let index = 0; index < this.queues; index++) this.startQueue(index)
    await this.#acknowledged()
  }

  async negotiate(): Promise<void> {
    this.send(VhostRequest.SET_OWNER)
    await this.ask(VhostRequest.GET_FEATURES)
    this.send(VhostRequest.SET_FEATURES, u64(this.features))
    await this.ask(VhostRequest.GET_PROTOCOL_FEATURES)
    this.send(VhostRequest.SET_PROTOCOL_FEATURES, u64(PROTOCOL_FEATURES))
  }

  shareMemory(): void {
    this.send(VhostRequest.SET_MEM_TABLE, memTable([[GUEST_BASE, BigInt(MEMORY_BYTES), USER_BASE, 0n]]), [
      this.memory,
    ])
  }

  startQueue(index: number, base = 0): void {
    this.kicks[index] ??= frontEndAddon.event(false)
    this.calls[index] ??= frontEndAddon.event(false)
    this.send(VhostRequest.SET_VRING_NUM, u32s(index, this.size))
    this.send(VhostRequest.SET_VRING_BASE, u32s(index, base))
    this.send(VhostRequest.SET_VRING_ADDR, this.addresses(index))
    this.send(VhostRequest.SET_VRING_KICK, u64(BigInt(index)), [this.kicks[index]])
    this.send(VhostRequest.SET_VRING_CALL, u64(BigInt(index)), [this.calls[index]])
    this.send(VhostRequest.SET_VRING_ENABLE, u32s(index, 1))
  }

  addresses(index: number): Buffer {
    const at = USER_BASE + BigInt(index * QUEUE_BYTES)
    return Buffer.concat([
      u32s(index, 0),
      u64(at),
      u64(at + BigInt(USED)),
      u64(at + BigInt(AVAILABLE)),
      u64(0n),
    ])
  }

  send(request: number, payload: Uint8Array = Buffer.alloc(0), files: number[] = [], flags = 1): void {
    this.sendBytes(Buffer.concat([u32s(request, flags, payload.length), payload]), files)
  }

  sendBytes(bytes: Uint8Array, files: number[] = []): void {
    frontEndAddon.send(this.socket, bytes, Int32Array.from(files))
  }

  /** Sends a message that has a reply; its payload. */
  async ask(request: number, payload?: Uint8Array, files?: number[], flags?: number): Promise<Buffer> {
    this.send(request, payload, files, flags)
    return this.reply(request)
  }

  /** The next reply, which is one to `request`. */
  async reply(request: number): Promise<Buffer> {
    const header = await this.#receive(HEADER.bytes)
    if (header.readUInt32LE(0) !== request || header.readUInt32LE(4) !== 5) throw new Error('another reply')
    return this.#receive(header.readUInt32LE(8))
  }

  async #receive(length: number): Promise<Buffer> {
    const bytes = Buffer.alloc(length)
    let filled = 0
    await until(() => {
      if (filled < length) {
        const received = vhostAddon().receive(this.socket, bytes, filled, length, new Int32Array(9))
        if (received === 0) throw new Error('the device hung up')
        if (received > 0) filled += received
      }
      return filled === length
    })
    return bytes
  }

  /** Everything sent until now was understood. */
  async #acknowledged(): Promise<void> {
    await this.ask(VhostRequest.SET_OWNER, Buffer.alloc(0), [], 9)
  }

  async init(): Promise<Buffer> {
    return (await this.request(Opcode.INIT, 0, initBody(), 80)).body
  }

  // — memory —

  write(offset: number, bytes: Uint8Array): void {
    writeSync(this.memory, bytes, 0, bytes.length, offset)
  }

  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length)
    readSync(this.memory, bytes, 0, length, offset)
    return bytes
  }

  /** Room for a buffer; the offset in the memory. */
  allocate(length: number): number {
    if (this.#heap + length > MEMORY_BYTES) this.#heap = HEAP
    const at = this.#heap
    this.#heap += (length + 15) & ~15
    return at
  }

  truncate(): void {
    ftruncateSync(this.memory, 0)
  }

  setDescriptor(queue: number, index: number, descriptor: Descriptor): void {
    this.write(queue * QUEUE_BYTES + index * 16, descriptorBytes(descriptor))
  }

  /** Makes `head` available, and kicks. */
  offer(queue: number, head: number): void {
    const index = this.#available[queue]!
    this.write(queue * QUEUE_BYTES + AVAILABLE + 4 + (index % this.size) * 2, u16(head))
    this.setAvailable(queue, (index + 1) & 0xffff)
    this.kick(queue)
  }

  setAvailable(queue: number, index: number): void {
    this.#available[queue] = index
    this.write(queue * QUEUE_BYTES + AVAILABLE + 2, u16(index))
  }

  setAvailableFlags(queue: number, flags: number): void {
    this.write(queue * QUEUE_BYTES + AVAILABLE, u16(flags))
  }

  kick(queue: number): void {
    writeSync(this.kicks[queue]!, u64(1n))
  }

  /** How often the guest was called since it looked last. */
  callsOf(queue: number): number {
    try {
      const count = Buffer.alloc(8)
      readSync(this.calls[queue]!, count)
      return Number(count.readBigUInt64LE(0))
    } catch {
      return 0
    }
  }

  /** The request that the device wants to be told of, as an index of available ones (VIRTIO_F_EVENT_IDX). */
  wantedKick(queue: number): number {
    return this.read(queue * QUEUE_BYTES + USED + 4 + this.size * 8, 2).readUInt16LE(0)
  }

  usedIndex(queue: number): number {
    return this.read(queue * QUEUE_BYTES + USED + 2, 2).readUInt16LE(0)
  }

  // — requests —

  nextUnique(): bigint {
    this.#unique += 2n
    return this.#unique
  }

  /** Puts a request into a queue; where its reply will lie, and under which descriptor. */
  post(
    opcode: number,
    nodeid: number,
    body: Uint8Array,
    room: number,
    { queue = 1, head = 0, indirect = false, unique = this.nextUnique() } = {},
  ): { readonly reply: number; readonly head: number; readonly unique: bigint } {
    const request = frame(opcode, nodeid, unique, body)
    const at = this.allocate(request.length)
    this.write(at, request)
    const reply = this.allocate(Math.max(room, 1))
    // As Linux lays it out: headers apart from what follows them.
    const buffers: Descriptor[] = [
      { address: GUEST_BASE + BigInt(at), length: 40, flags: 0 },
      ...(body.length > 0 ? [{ address: GUEST_BASE + BigInt(at + 40), length: body.length, flags: 0 }] : []),
      ...(room > 0
        ? [{ address: GUEST_BASE + BigInt(reply), length: Math.min(room, 16), flags: DescFlag.write }]
        : []),
      ...(room > 16
        ? [{ address: GUEST_BASE + BigInt(reply + 16), length: room - 16, flags: DescFlag.write }]
        : []),
    ]
    if (indirect) {
      const table = this.allocate(buffers.length * 16)
      buffers.forEach((buffer, i) => {
        this.write(table + i * 16, descriptorBytes(chained(buffer, i, buffers.length)))
      })
      this.setDescriptor(queue, head, {
        address: GUEST_BASE + BigInt(table),
        length: buffers.length * 16,
        flags: DescFlag.indirect,
      })
    } else {
      buffers.forEach((buffer, i) => {
        this.setDescriptor(queue, head + i, chained(buffer, head + i, head + buffers.length))
      })
    }
    this.offer(queue, head)
    return { reply, head, unique }
  }

  /** The next element of the used ring, once it is there. */
  async used(queue: number): Promise<{ readonly id: number; readonly length: number }> {
    const next = this.#seen[queue]!
    await until(() => this.usedIndex(queue) !== next)
    const element = this.read(queue * QUEUE_BYTES + USED + 4 + (next % this.size) * 8, 8)
    this.#seen[queue] = (next + 1) & 0xffff
    return { id: element.readUInt32LE(0), length: element.readUInt32LE(4) }
  }

  /** One request and its reply, which is checked; `room` with its header. */
  async request(
    opcode: number,
    nodeid: number,
    body: Uint8Array = Buffer.alloc(0),
    room = 4096,
    place: { queue?: number; head?: number; indirect?: boolean; unique?: bigint } = {},
  ): Promise<{ readonly error: number; readonly body: Buffer }> {
    const { reply, head, unique } = this.post(opcode, nodeid, body, room, place)
    const { id, length } = await this.used(place.queue ?? 1)
    const bytes = this.read(reply, Math.min(length, room))
    checkReply({ opcode, unique, room, head }, { id, length, bytes })
    return { error: bytes.length >= 16 ? bytes.readInt32LE(4) : 0, body: bytes.subarray(16) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    closeSync(this.socket)
    await this.frontEnd.ended
    for (const file of [this.memory, ...this.kicks, ...this.calls]) if (file !== undefined) closeSync(file)
  }
}

function chained(descriptor: Descriptor, index: number, end: number): Descriptor {
  return index + 1 < end
    ? { ...descriptor, flags: descriptor.flags | DescFlag.next, next: index + 1 }
    : descriptor
}

export function descriptorBytes({ address, length, flags, next = 0 }: Descriptor): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, address), 0)
  bytes.writeUInt32LE(length, 8)
  bytes.writeUInt16LE(flags, 12)
  bytes.writeUInt16LE(next, 14)
  return bytes
}

export function memTable(
  regions: readonly (readonly [bigint, bigint, bigint, bigint])[],
  count = regions.length,
): Buffer {
  const head = u32s(count, 0)
  return Buffer.concat([head, ...regions.flat().map((value) => u64(BigInt.asUintN(64, value)))])
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

export function u32s(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => {
    bytes.writeUInt32LE(value, i * 4)
  })
  return bytes
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
