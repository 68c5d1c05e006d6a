import { closeSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { FaultLog } from '../../support/fault-log.ts'
import { GUEST_FAULT_MS } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import { identifySocket } from '../../support/unix-socket.ts'
import { nativeAddon, type Watch } from '../fuse/native-addon.ts'
import type { SessionOptions } from '../fuse/session.ts'
import { SessionStats, type StatsSnapshot } from '../fuse/stats.ts'
import type { Tree } from '../tree/interface.ts'
import { FrontEnd } from './front-end.ts'
import { GuestCompany } from './guest-patience.ts'
import { listenForFrontEnds, type SocketPermissions } from './socket.ts'
import { vhostAddon } from './vhost-addon.ts'

export interface GuestServerOptions extends Omit<SessionOptions, 'stats' | 'passthrough'> {
  readonly tree: Tree
  /** One a guest. */
  readonly sockets: readonly string[]
  readonly permissions: SocketPermissions
  /** Is called when all sockets are there, and before the first guest is let in. What it throws ends the serving. */
  readonly onListening?: (() => void) | undefined
}

/** Shows one tree to several guests, each over a vhost-user socket of its own. */
export interface GuestServer {
  /** Of all guests together. */
  readonly stats: StatsSnapshot
  /** Removes the sockets and lets go of the guests. */
  close(): Promise<void>
}

/** Listens on every socket, or on none. */
export async function serveGuests(options: GuestServerOptions): Promise<GuestServer> {
  const stats = new SessionStats()
  const company = new GuestCompany()
  const doors: Door[] = []
  const close = async () => {
    await Promise.all(doors.map((door) => door.close()))
  }
  try {
    for (const path of options.sockets) {
      const listener = await listenForFrontEnds(path, options.permissions)
      doors.push(new Door(path, listener, options, stats, company))
    }
    vhostAddon().giveWay()
    options.onListening?.()
  } catch (error) {
    await close()
    throw error
  }
  for (const door of doors) door.listen()
  return {
    get stats() {
      return stats.snapshot()
    },
    close,
  }
}

/** A socket at which one front-end after the other comes in; while one is there, the next ones wait. */
class Door {
  readonly #path: string
  /** Which one it is that we made at the path. */
  readonly #socket: string | undefined
  readonly #listener: number
  readonly #tree: Tree
  readonly #options: SessionOptions
  readonly #logger: Logger
  readonly #company: GuestCompany
  #watch: Watch | undefined
  #frontEnd: FrontEnd | undefined
  #pause: NodeJS.Timeout | undefined
  #open = true

  constructor(
    path: string,
    listener: number,
    { tree, ...options }: GuestServerOptions,
    stats: SessionStats,
    company: GuestCompany,
  ) {
    this.#path = path
    this.#socket = identifySocket(path)
    this.#listener = listener
    this.#tree = tree
    this.#company = company
    this.#logger = loggerFor(options.logger, path)
    this.#options = { ...options, logger: this.#logger, stats }
  }

  async close(): Promise<void> {
    this.#open = false
    clearTimeout(this.#pause)
    this.#unlisten()
    const isOurs = identifySocket(this.#path) === this.#socket
    closeSync(this.#listener)
    this.#frontEnd?.end()
    // It may be that of a successor, which would listen where nobody can find it.
    if (!isOurs) return
    await unlink(this.#path).catch((error) =>
      this.#logger.debug({ err: error }, 'the socket was removed by somebody else'),
    )
  }

  /** Until then whoever connects waits. */
  listen(): void {
    const watch = nativeAddon().watch(this.#listener, () => this.#accept())
    if (typeof watch === 'number') throw new Error(`polling a listening socket failed: ${watch}`)
    this.#watch = watch
  }

  #unlisten(): void {
    if (this.#watch) nativeAddon().unwatch(this.#watch)
    this.#watch = undefined
  }

  #accept(): void {
    if (this.#frontEnd) {
      this.#unlisten()
      this.#logger.warn({}, 'somebody else connected, and waits: each guest needs a socket of its own')
      return
    }
    const socket = vhostAddon().accept(this.#listener)
    if (socket < 0) return // it left before it was let in
    this.#logger.info({}, 'a virtual machine monitor connected')
    const frontEnd = new FrontEnd(socket, this.#tree, this.#options, this.#company)
    this.#frontEnd = frontEnd
    void frontEnd.ended.then((fault) => {
      this.#frontEnd = undefined
      if (!this.#open) return
      this.#unlisten()
      if (fault) this.#logger.error({}, `the guest was given up: ${fault.message}`)
      else this.#logger.info({}, 'the virtual machine monitor left')
      this.#pause = setTimeout(() => this.listen(), fault ? GUEST_FAULT_MS : 0)
    })
  }
}

/** Says of which socket a line is, and of an error that a guest causes again and again once. */
function loggerFor(logger: Logger, socket: string): Logger {
  const errors = new FaultLog(logger)
  const add = (level: 'debug' | 'info' | 'warn') => (fields: object, message: string) =>
    logger[level]({ socket, ...fields }, message)
  const error = (fields: object, message: string) => errors.error({ socket, ...fields }, message)
  return { debug: add('debug'), info: add('info'), warn: add('warn'), error }
}
