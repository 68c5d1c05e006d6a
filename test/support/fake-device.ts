import type { FuseDevice } from '../../src/mount/fuse/device.ts'
import { Opcode } from '../../src/mount/fuse/protocol.ts'

export interface DeviceReply {
  readonly unique: bigint
  /** As in the header: 0, a negative errno, or the code of a notification. */
  readonly error: number
  readonly body: Buffer
}

/** Plays the kernel: tests put requests in and look at what comes back. Little-endian hosts only. */
export class FakeDevice implements FuseDevice {
  readonly replies: DeviceReply[] = []
  /** Bytes that the next `send` says no to (the request was interrupted), by unique. */
  readonly refused = new Set<bigint>()
  /** Pieces of the latest reply, as they were passed. */
  pieces: readonly Uint8Array[] = []
  closed = false
  /** Notifications that were not sent like replies. */
  readonly aside: Buffer[] = []
  readonly #requests: Uint8Array[] = []
  #onReadable = () => {}
  #onClosed = () => {}
  #unique = 2n

  start(onReadable: () => void, onClosed: () => void): void {
    this.#onReadable = onReadable
    this.#onClosed = onClosed
  }

  receive(buffer: Uint8Array): number {
    const next = this.#requests.shift()
    if (!next || this.closed) return 0
    buffer.set(next)
    return next.length
  }

  send(head: Uint8Array, headLength: number, pieces: readonly Uint8Array[]): boolean {
    if (this.closed) throw new Error('send after close')
    const bytes = Buffer.concat([head.subarray(0, headLength), ...pieces])
    const unique = bytes.readBigUInt64LE(8)
    if (this.refused.delete(unique)) return false
    if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('the length in the header is wrong')
    this.pieces = pieces
    this.replies.push({ unique, error: bytes.readInt32LE(4), body: bytes.subarray(16) })
    return true
  }

  async sendAside(notification: Uint8Array): Promise<void> {
    this.aside.push(Buffer.from(notification))
  }

  close(): void {
    this.closed = true
  }

  /** The kernel ends the connection. */
  disconnect(): void {
    this.#onClosed()
  }

  /** Queues raw bytes as one request, without telling anybody. */
  queue(bytes: Uint8Array): void {
    this.#requests.push(bytes)
  }

  wake(): void {
    this.#onReadable()
  }

  get waiting(): number {
    return this.#requests.length
  }

  /** Sends one request in; its unique. What was answered at once lies in `replies` afterwards. */
  request(opcode: number, nodeid: number, body: Uint8Array = Buffer.alloc(0)): bigint {
    const unique = this.nextUnique()
    this.queue(frame(opcode, nodeid, unique, body))
    this.wake()
    return unique
  }

  nextUnique(): bigint {
    this.#unique += 2n
    return this.#unique
  }

  /** Sends one request in and answers with the reply that came at once. */
  ask(opcode: number, nodeid: number, body?: Uint8Array): DeviceReply {
    const unique = this.request(opcode, nodeid, body)
    const reply = this.replyTo(unique)
    if (!reply) throw new Error('no reply came at once')
    return reply
  }

  replyTo(unique: bigint): DeviceReply | undefined {
    return this.replies.find((reply) => reply.unique === unique)
  }

  /** The INIT of a Linux 6.18, unless said otherwise. */
  init(version: InitFields = {}): DeviceReply {
    return this.ask(Opcode.INIT, 0, initBody(version))
  }
}

export interface InitFields {
  readonly major?: number
  readonly minor?: number
  readonly flags?: number
  readonly flags2?: number
}

export function initBody({
  major = 7,
  minor = 45,
  flags = 0x73fffffb,
  flags2 = 0x5fd,
}: InitFields = {}): Buffer {
  const body = Buffer.alloc(64)
  body.writeUInt32LE(major, 0)
  body.writeUInt32LE(minor, 4)
  body.writeUInt32LE(131_072, 8)
  body.writeUInt32LE(flags, 12)
  body.writeUInt32LE(flags2, 16)
  return body
}

export function frame(opcode: number, nodeid: number, unique: bigint, body: Uint8Array): Buffer {
  const header = Buffer.alloc(40)
  header.writeUInt32LE(40 + body.length, 0)
  header.writeUInt32LE(opcode, 4)
  header.writeBigUInt64LE(unique, 8)
  header.writeBigUInt64LE(BigInt(nodeid), 16)
  return Buffer.concat([header, body])
}

/** A name and its NUL, one byte a character. */
export function nameBody(name: string): Buffer {
  return Buffer.from(`${name}\0`, 'latin1')
}

/** `struct fuse_read_in`, for READ and both ways of listing. */
export function readBody(offset: number, size: number): Buffer {
  const body = Buffer.alloc(40)
  body.writeBigUInt64LE(BigInt(offset), 8)
  body.writeUInt32LE(size, 16)
  return body
}

/** `struct fuse_getxattr_in` and a name. */
export function xattrBody(size: number, name = ''): Buffer {
  const body = Buffer.alloc(8)
  body.writeUInt32LE(size, 0)
  return Buffer.concat([body, name ? nameBody(name) : Buffer.alloc(0)])
}

export function u64s(...values: (number | bigint)[]): Buffer {
  const body = Buffer.alloc(values.length * 8)
  values.forEach((value, i) => {
    body.writeBigUInt64LE(BigInt(value), i * 8)
  })
  return body
}

export interface ListedEntry {
  /** 0 without PLUS. */
  readonly inode: number
  readonly name: string
  readonly cookie: number
  readonly type: number
}

/** Takes a listing apart, as the kernel does. */
export function listed(body: Buffer, plus: boolean): ListedEntry[] {
  const entries: ListedEntry[] = []
  for (let at = 0; at < body.length; ) {
    const inode = plus ? Number(body.readBigUInt64LE(at)) : 0
    const dirent = plus ? at + 128 : at
    const length = body.readUInt32LE(dirent + 16)
    const name = body.toString('latin1', dirent + 24, dirent + 24 + length)
    entries.push({
      inode,
      name,
      cookie: Number(body.readBigUInt64LE(dirent + 8)),
      type: body.readUInt32LE(dirent + 20),
    })
    at = dirent + Math.ceil((24 + length) / 8) * 8
  }
  return entries
}
