import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { VHOST_MESSAGE_BYTES_MAX } from '../../support/limits.ts'
import { dataView, LITTLE_ENDIAN } from '../fuse/bytes.ts'
import { Errno } from '../fuse/protocol.ts'
import { GuestFault } from './guest-fault.ts'
import { HEADER, MessageFlag, REGIONS_MAX, requestName, VERSION } from './protocol.ts'
import { vhostAddon } from './vhost-addon.ts'

/** One message of the front-end, valid until the next is read. */
export interface Message {
  readonly request: number
  readonly needReply: boolean
  readonly payload: DataView
  /** Open descriptors; whoever keeps one takes it out. */
  readonly files: number[]
}

/** Takes messages off a socket as they come, each with its descriptors and never a byte more. */
export class MessageReader {
  readonly #socket: number
  readonly #buffer = new Uint8Array(HEADER.bytes + VHOST_MESSAGE_BYTES_MAX)
  readonly #view = dataView(this.#buffer)
  /** A count, and so many descriptors behind it. */
  readonly #files = new Int32Array(1 + REGIONS_MAX)
  #filled = 0

  constructor(socket: number) {
    this.#socket = socket
  }

  /** `undefined`: it is not complete yet; `end`: the front-end left. Throws GuestFault. */
  next(): Message | 'end' | undefined {
    while (this.#filled < HEADER.bytes || this.#filled < this.#wanted()) {
      const to = this.#filled < HEADER.bytes ? HEADER.bytes : this.#wanted()
      const received = vhostAddon().receive(this.#socket, this.#buffer, this.#filled, to, this.#files)
      if (received === 0 || received === -Errno.ECONNRESET) return 'end'
      if (received === -Errno.EAGAIN) return undefined
      if (received === -Errno.EINTR) continue
      if (received === -Errno.EMSGSIZE)
        throw new GuestFault(`a message has more than ${REGIONS_MAX} descriptors`)
      if (received < 0) throw new GuestFault(`its socket failed: ${getSystemErrorName(received)}`)
      this.#filled += received
    }
    return this.#take()
  }

  /** Bytes of the message whose header is there. */
  #wanted(): number {
    const size = this.#view.getUint32(HEADER.size, LITTLE_ENDIAN)
    if (size > VHOST_MESSAGE_BYTES_MAX) throw new GuestFault(`a message has ${size} bytes`)
    return HEADER.bytes + size
  }

  #take(): Message {
    const request = this.#view.getUint32(HEADER.request, LITTLE_ENDIAN)
    const flags = this.#view.getUint32(HEADER.flags, LITTLE_ENDIAN)
    if ((flags & MessageFlag.version) !== VERSION || flags & MessageFlag.reply)
      throw new GuestFault(`${requestName(request)} has impossible flags`)
    const files = [...this.#files.subarray(1, 1 + this.#files[0]!)]
    this.#files[0] = 0
    const payload = new DataView(this.#buffer.buffer, HEADER.bytes, this.#filled - HEADER.bytes)
    this.#filled = 0
    return { request, needReply: (flags & MessageFlag.needReply) !== 0, payload, files }
  }

  /** Closes descriptors of a message that was not complete. */
  close(): void {
    for (const file of this.#files.subarray(1, 1 + this.#files[0]!)) closeSync(file)
    this.#files[0] = 0
  }
}

/** A reply to `request`, ready to be sent. */
export function replyBytes(request: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER.bytes + payload.length)
  const view = dataView(bytes)
  view.setUint32(HEADER.request, request, LITTLE_ENDIAN)
  view.setUint32(HEADER.flags, VERSION | MessageFlag.reply, LITTLE_ENDIAN)
  view.setUint32(HEADER.size, payload.length, LITTLE_ENDIAN)
  bytes.set(payload, HEADER.bytes)
  return bytes
}
