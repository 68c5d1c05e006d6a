import { closeSync } from 'node:fs'
import { GUEST_QUEUES_MAX } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { dataView, LITTLE_ENDIAN } from '../fuse/bytes.ts'
import { nativeAddon, type Watch } from '../fuse/native-addon.ts'
import type { SessionOptions } from '../fuse/session.ts'
import type { Tree } from '../tree/interface.ts'
import { GuestFault } from './guest-fault.ts'
import { GuestCompany, GuestPatience } from './guest-patience.ts'
import { GuestQueues } from './guest-queues.ts'
import { GuestSessions } from './guest-sessions.ts'
import { type Message, MessageReader, replyBytes } from './message-reader.ts'
import {
  FEATURES,
  Feature,
  MEM_TABLE,
  PROTOCOL_FEATURES,
  ProtocolFeature,
  REGIONS_MAX,
  requestName,
  VhostRequest,
  VRING_ADDR,
  VRING_LOG,
  VringFd,
} from './protocol.ts'
import { vhostAddon } from './vhost-addon.ts'

/** What a message must look like, and what is done. An answer that is given is the reply; else it is acknowledged on demand. */
interface Handler {
  /** Of the payload, exactly. */
  readonly bytes?: number
  /** Descriptors, at most; unless said otherwise none. */
  readonly filesMax?: number
  handle(payload: DataView, files: number[]): Uint8Array | undefined | Promise<Uint8Array>
}

interface VringSettings {
  size: number
  addresses: BigUint64Array | undefined
}

/**
 * A virtual machine monitor that connected (the "front-end" of vhost-user): it says where the guest's memory and queues
 * are, and the guest's requests go to its FUSE session. Whatever is wrong with either ends the connection.
 */
export class FrontEnd {
  /** Resolves when nothing of it is left; with what it did wrong, if it did. */
  readonly ended: Promise<GuestFault | undefined>
  readonly #socket: number
  readonly #logger: Logger
  readonly #reader: MessageReader
  readonly #queues: GuestQueues
  readonly #vrings: (VringSettings | undefined)[] = []
  readonly #ended = Promise.withResolvers<GuestFault | undefined>()
  readonly #handlers: ReadonlyMap<number, Handler> = this.#makeHandlers()
  #features = 0n
  #protocolFeatures = 0n
  #watch: Watch | undefined
  readonly #sessions: GuestSessions
  #open = true

  /** Takes over the socket. `company`: the guests that share this thread. */
  constructor(socket: number, tree: Tree, options: SessionOptions, company = new GuestCompany()) {
    this.#socket = socket
    this.#logger = options.logger
    this.#reader = new MessageReader(socket)
    const events = {
      onReadable: () => this.#sessions.wake(),
      onFault: (fault: GuestFault) => this.end(fault),
      onLooked: (microseconds: number) => {
        if (options.stats) options.stats.lookedUs += microseconds
      },
    }
    this.#queues = new GuestQueues(events, new GuestPatience(company))
    this.ended = this.#ended.promise
    this.#sessions = new GuestSessions(this.#queues, tree, options, (error) => this.#failed(error))
    this.#listen()
  }

  /** Lets go of the guest. Idempotent. */
  end(fault?: GuestFault): void {
    if (!this.#open) return
    this.#open = false
    this.#unlisten()
    this.#sessions.close()
    this.#queues.close()
    this.#reader.close()
    closeSync(this.#socket)
    this.#ended.resolve(fault)
  }

  #listen(): void {
    const watch = nativeAddon().watch(this.#socket, (status) => {
      if (status < 0) this.end()
      else this.#guarded(() => this.#read())
    })
    if (typeof watch === 'number') this.end(new GuestFault('its socket cannot be listened to'))
    else this.#watch = watch
  }

  #unlisten(): void {
    if (this.#watch) nativeAddon().unwatch(this.#watch)
    this.#watch = undefined
  }

  #guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** What is not the guest's fault is ours; it ends this guest and no other. */
  #failed(error: unknown): void {
    if (!(error instanceof GuestFault)) this.#logger.error({ err: error }, 'serving a guest failed')
    this.end(error instanceof GuestFault ? error : new GuestFault('it could not be served'))
  }

  /** One message; the next one is told of again. */
  #read(): void {
    const message = this.#reader.next()
    if (message === undefined) return
    if (message === 'end') {
      this.end()
      return
    }
    let reply: Uint8Array | undefined | Promise<Uint8Array>
    try {
      reply = this.#handle(message)
    } finally {
      for (const file of message.files) closeSync(file)
    }
    if (!(reply instanceof Promise)) {
      this.#reply(message, reply)
      return
    }
    this.#unlisten()
    reply.then(
      (late) => this.#open && this.#guarded(() => this.#replyLate(message, late)),
      (error) => this.#failed(error),
    )
  }

  #replyLate(message: Message, reply: Uint8Array): void {
    this.#reply(message, reply)
    this.#listen()
  }

  #handle({ request, payload, files }: Message): Uint8Array | undefined | Promise<Uint8Array> {
    const handler = this.#handlers.get(request)
    if (!handler) throw new GuestFault(`${requestName(request)} was not agreed on`)
    const { bytes, filesMax = 0 } = handler
    if (bytes !== undefined && payload.byteLength !== bytes)
      throw new GuestFault(`${requestName(request)} has ${payload.byteLength} bytes`)
    if (files.length > filesMax)
      throw new GuestFault(`${requestName(request)} has ${files.length} descriptors`)
    return handler.handle(payload, files)
  }

  #reply({ request, needReply }: Message, reply: Uint8Array | undefined): void {
    const acknowledged = needReply && (this.#protocolFeatures & ProtocolFeature.REPLY_ACK) !== 0n
    const payload = reply ?? (acknowledged ? u64(0n) : undefined)
    if (!payload) return
    const bytes = replyBytes(request, payload)
    if (vhostAddon().send(this.#socket, bytes) !== bytes.length)
      throw new GuestFault('its front-end takes no replies')
  }

  #makeHandlers(): ReadonlyMap<number, Handler> {
    const nothing = { handle: () => undefined }
    return new Map<number, Handler>([
      [VhostRequest.GET_FEATURES, { bytes: 0, handle: () => u64(FEATURES) }],
      [VhostRequest.SET_FEATURES, { bytes: 8, handle: (payload) => this.#setFeatures(u64At(payload)) }],
      [VhostRequest.SET_OWNER, { bytes: 0, ...nothing }],
      // Deprecated, and without effect in most devices.
      [VhostRequest.RESET_OWNER, { bytes: 0, ...nothing }],
      [VhostRequest.GET_PROTOCOL_FEATURES, { bytes: 0, handle: () => u64(PROTOCOL_FEATURES) }],
      [
        VhostRequest.SET_PROTOCOL_FEATURES,
        { bytes: 8, handle: (payload) => this.#setProtocolFeatures(u64At(payload)) },
      ],
      [VhostRequest.GET_QUEUE_NUM, { bytes: 0, handle: () => u64(BigInt(GUEST_QUEUES_MAX)) }],
      [
        VhostRequest.SET_MEM_TABLE,
        { filesMax: REGIONS_MAX, handle: (payload, files) => this.#setMemory(payload, files) },
      ],
      [VhostRequest.SET_VRING_NUM, { bytes: 8, handle: (payload) => this.#setSize(payload) }],
      [
        VhostRequest.SET_VRING_ADDR,
        { bytes: VRING_ADDR.bytes, handle: (payload) => this.#setAddresses(payload) },
      ],
      [VhostRequest.SET_VRING_BASE, { bytes: 8, handle: (payload) => this.#setBase(payload) }],
      [VhostRequest.GET_VRING_BASE, { bytes: 8, handle: (payload) => this.#stop(payload) }],
      [
        VhostRequest.SET_VRING_KICK,
        { bytes: 8, filesMax: 1, handle: (payload, files) => this.#setKick(payload, files) },
      ],
      [
        VhostRequest.SET_VRING_CALL,
        { bytes: 8, filesMax: 1, handle: (payload, files) => this.#setCall(payload, files) },
      ],
      // Errors end the connection, which the front-end sees.
      [VhostRequest.SET_VRING_ERR, { bytes: 8, filesMax: 1, ...nothing }],
      [VhostRequest.SET_VRING_ENABLE, { bytes: 8, handle: (payload) => this.#enable(payload) }],
      [VhostRequest.SET_LOG_BASE, { filesMax: REGIONS_MAX, handle: refuseMigration }],
      [VhostRequest.SET_LOG_FD, { filesMax: REGIONS_MAX, handle: refuseMigration }],
    ])
  }

  #setFeatures(features: bigint): undefined {
    if (features & Feature.LOG_ALL) refuseMigration()
    if (features & ~FEATURES) throw new GuestFault('it agrees to features that were not offered')
    this.#features = features
  }

  #setProtocolFeatures(features: bigint): undefined {
    if (features & ~PROTOCOL_FEATURES) throw new GuestFault('it agrees to features that were not offered')
    this.#protocolFeatures = features
  }

  #setMemory(payload: DataView, files: number[]): undefined {
    const { headBytes, count: at, regionBytes } = MEM_TABLE
    const count = payload.byteLength >= headBytes ? payload.getUint32(at, LITTLE_ENDIAN) : 0
    // A front-end may send the table at its full length.
    if (count === 0 || count !== files.length || payload.byteLength < headBytes + count * regionBytes)
      throw new GuestFault(`its table of ${count} regions comes with ${files.length} descriptors`)
    const table = new BigUint64Array(count * 4)
    for (let i = 0; i < table.length; i++) table[i] = payload.getBigUint64(headBytes + i * 8, LITTLE_ENDIAN)
    this.#queues.setMemory(table, files)
  }

  #vring(index: number): VringSettings {
    if (index >= GUEST_QUEUES_MAX) throw new GuestFault(`there is no queue ${index}`)
    this.#vrings[index] ??= { size: 0, addresses: undefined }
    return this.#vrings[index]
  }

  /** The settings of a queue that does not run: they are looked at when it starts. */
  #stopped(payload: DataView): { readonly index: number; readonly vring: VringSettings } {
    const index = payload.getUint32(0, LITTLE_ENDIAN)
    const vring = this.#vring(index)
    if (this.#queues.isRunning(index)) throw new GuestFault(`queue ${index} is changed while it runs`)
    return { index, vring }
  }

  #setSize(payload: DataView): undefined {
    this.#stopped(payload).vring.size = payload.getUint32(4, LITTLE_ENDIAN)
  }

  #setBase(payload: DataView): undefined {
    const base = payload.getUint32(4, LITTLE_ENDIAN)
    const { index } = this.#stopped(payload)
    if (base > 0xffff) throw new GuestFault(`queue ${index} begins at ${base}`)
    this.#queues.setBase(index, base)
  }

  #setAddresses(payload: DataView): undefined {
    if (payload.getUint32(VRING_ADDR.flags, LITTLE_ENDIAN) & VRING_LOG) refuseMigration()
    const { vring } = this.#stopped(payload)
    const { descriptors, available, used } = VRING_ADDR
    const at = (offset: number) => payload.getBigUint64(offset, LITTLE_ENDIAN)
    vring.addresses = BigUint64Array.of(at(descriptors), at(available), at(used))
  }

  #setKick(payload: DataView, files: number[]): undefined {
    const index = vringIndex(payload)
    const { size, addresses } = this.#vring(index)
    const kick = files.pop()
    if (kick === undefined) throw new GuestFault(`queue ${index} is to be polled, which is not offered`)
    if (!addresses) {
      files.push(kick)
      throw new GuestFault(`queue ${index} starts without addresses`)
    }
    const indirect = (this.#features & Feature.INDIRECT_DESC) !== 0n
    const eventIndex = (this.#features & Feature.EVENT_IDX) !== 0n
    const base = this.#queues.base(index)
    this.#queues.start(index, { size, base, indirect, eventIndex, addresses }, kick)
    // Without that feature there is no message that enables it.
    if (!(this.#features & Feature.PROTOCOL_FEATURES)) this.#queues.enable(index, true)
  }

  #setCall(payload: DataView, files: number[]): undefined {
    const index = vringIndex(payload)
    // Before the descriptor is taken out: nobody else would close it.
    this.#vring(index)
    this.#queues.setCall(index, files.pop())
  }

  #enable(payload: DataView): undefined {
    this.#queues.enable(payload.getUint32(0, LITTLE_ENDIAN), payload.getUint32(4, LITTLE_ENDIAN) !== 0)
  }

  async #stop(payload: DataView): Promise<Uint8Array> {
    const index = payload.getUint32(0, LITTLE_ENDIAN)
    const base = await this.#queues.stop(index)
    const reply = new Uint8Array(8)
    dataView(reply).setUint32(0, index, LITTLE_ENDIAN)
    dataView(reply).setUint32(4, base, LITTLE_ENDIAN)
    return reply
  }
}

function refuseMigration(): never {
  throw new GuestFault('its guest is to be migrated, which is not offered')
}

function vringIndex(payload: DataView): number {
  return Number(u64At(payload) & BigInt(VringFd.index))
}

function u64At(payload: DataView): bigint {
  return payload.getBigUint64(0, LITTLE_ENDIAN)
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  dataView(bytes).setBigUint64(0, value, LITTLE_ENDIAN)
  return bytes
}
