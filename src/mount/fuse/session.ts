import { StoreError } from '../../support/errors.ts'
import { FaultLog } from '../../support/fault-log.ts'
import { FUSE_REQUESTS_PER_TURN, MOUNT_INTERRUPT_GRACE_MS } from '../../support/limits.ts'
import type { Logger } from '../../support/log.ts'
import type { Soon, Tree } from '../tree/interface.ts'
import type { Owner } from './attributes.ts'
import { HIGH, LOW } from './bytes.ts'
import type { ChunkReader, ReadRequest } from './chunk-reader.ts'
import { ANSWERED, type FuseDevice, type WhenNone } from './device.ts'
import { errnoOf } from './errno.ts'
import { Forgets } from './forgets.ts'
import { InFlight } from './in-flight.ts'
import { LateReads } from './late-reads.ts'
import { ListingPool } from './listing.ts'
import { ListingsAhead } from './listings-ahead.ts'
import { type Agreement, negotiate } from './negotiate.ts'
import { OpenFiles } from './open-files.ts'
import {
  afterAnswer,
  OPERATIONS,
  type Operation,
  type OperationContext,
  READ,
  refusalOf,
} from './operations.ts'
import { PendingRequest } from './pending.ts'
import type { PreparedListings } from './prepared-listings.ts'
import {
  Errno,
  INIT_IN,
  INTERRUPT_IN,
  MAJOR,
  MINOR,
  Notify,
  Opcode,
  OUT_HEADER,
  ROOT_NODE,
} from './protocol.ts'
import { Reply } from './reply.ts'
import { Request, readRequestOf } from './request.ts'
import { RootNotices } from './root-notices.ts'
import { SessionStats } from './stats.ts'

export interface SessionOptions {
  readonly owner: Owner
  readonly showXattr: boolean
  /** How long the kernel remembers a missing name that may yet appear, in milliseconds. */
  readonly negativeMs: number
  /** A request that was not answered after this long is answered with an error, in milliseconds. */
  readonly callMs: number
  readonly logger: Logger
  /** Let the kernel read files of this machine by itself, at the price of a request for each open and close. */
  readonly passthrough?: boolean | undefined
  /** Put together what is likely to be listed next, while whoever lists works on the last page. */
  readonly listAhead?: boolean | undefined
  /** Counts for several sessions together. */
  readonly stats?: SessionStats | undefined
}

/**
 * Serves a tree to the kernel: takes requests from the device, asks the tree, answers. What the tree knows is
 * answered before the next request is looked at, without a promise; what must be fetched is answered when it
 * comes, when a signal interrupts the caller, or at its deadline, whichever is first. Nothing here blocks.
 */
export class FuseSession {
  readonly stats: SessionStats
  /** Settles when the kernel and we agreed on how to speak; rejects when the session ends before. */
  readonly ready: Promise<void>
  /** Resolves when the kernel ended the connection, or `close` did. */
  readonly closed: Promise<void>
  readonly #device: FuseDevice
  readonly #tree: Tree
  readonly #options: SessionOptions
  readonly #logger: Logger
  /** Programs try again, and many at once: a failure of the same thing is one line. */
  readonly #failures: FaultLog
  readonly #request = new Request()
  readonly #reply = new Reply()
  readonly #inFlight = new InFlight()
  readonly #forgets: Forgets
  readonly #root: RootNotices
  readonly #lateReads = new LateReads()
  readonly #ready = Promise.withResolvers<void>()
  readonly #closed = Promise.withResolvers<void>()
  #context: OperationContext
  #chunkReader: Pick<ChunkReader, 'read'> | undefined
  #listings: PreparedListings | undefined
  #filler: { readonly isBusy: boolean } | undefined
  /** Threads have the last request: they need the processor, and who waits for it will not ask again so soon. */
  #handedOver = false
  /** Listings were answered, and what the tree prepares then is not done yet: a step at a time, between requests. */
  #isBehind = false
  /** Runtimes of scripts ask of each file that they open whether it is a terminal, one after the other, and of nothing else once it is known. */
  #lastOpcode: number = Opcode.INIT
  #open = true

  constructor(device: FuseDevice, tree: Tree, options: SessionOptions) {
    this.#device = device
    this.#tree = tree
    this.#options = options
    this.#logger = options.logger
    this.stats = options.stats ?? new SessionStats()
    this.#failures = new FaultLog(options.logger)
    this.#forgets = new Forgets(tree, options.logger)
    this.#root = new RootNotices(device, this.#inFlight, options.logger, () => this.#dropRootListing())
    const takesNotifications = device.takesNotifications ?? true
    const listings = new ListingPool(options.owner)
    this.#context = {
      tree,
      owner: options.owner,
      listings,
      listingsAhead: options.listAhead ? new ListingsAhead(tree, listings, device.pages) : undefined,
      showXattr: options.showXattr,
      negativeMs: options.negativeMs,
      noOpen: false,
      noOpendir: false,
      openFiles: undefined,
      takesNotifications,
      rootListed: () => takesNotifications && this.#root.listed(),
    }
    this.ready = this.#ready.promise
    this.ready.catch(() => {}) // whoever waits sees it
    this.closed = this.#closed.promise
  }

  /** The kernel asks again for this name in the root. */
  forgetRootEntry(name: Uint8Array): void {
    if (this.#open) this.#root.forget(name)
  }

  start(): void {
    this.#device.start(
      () => this.#drain(),
      () => this.close(),
    )
  }

  /** From now on reads go to `reader` first. */
  readFrom(reader: Pick<ChunkReader, 'read'>): void {
    this.#chunkReader = reader
  }

  /** This puts files where nobody asks for them. */
  filledBy(filler: { readonly isBusy: boolean }): void {
    this.#filler = filler
  }

  /** From now on the device answers the listings that are ready. */
  answerFrom(listings: PreparedListings): void {
    this.#listings = listings
    this.#device.answerFrom?.(listings)
  }

  /** Answers a read that was taken and could not be answered. */
  readAgain(read: ReadRequest): void {
    const pending = new PendingRequest({ ...read, opcode: Opcode.READ })
    this.#begin(READ, pending, () => this.#tree.read(read.nodeid, read.offset, read.size, pending))
  }

  /** Requests that wait for the tree. */
  get inFlight(): number {
    return this.#inFlight.count
  }

  /** Ends the connection; calls that wait in the kernel fail. Idempotent. */
  close(): void {
    if (!this.#open) return
    const reason = new StoreError('cancelled', 'the mount is gone')
    // A notification that waits for lookups keeps the device open, and so the lookups from ending with it.
    if (this.#root.isTelling) this.#abandonAll(reason)
    this.#open = false
    this.#root.close()
    this.#context.listingsAhead?.close()
    this.#device.close()
    this.#abandonAll(reason)
    this.#ready.reject(new StoreError('unavailable', 'the mount ended before it was ready'))
    this.#closed.resolve()
  }

  /** Serves what is waiting, but not so much that timers and sockets starve: the device calls again. */
  #drain(): void {
    try {
      for (let served = 0; served < FUSE_REQUESTS_PER_TURN && this.#open; served++) {
        const length = this.#device.receive(this.#request.buffer, this.#whenNone())
        if (length === ANSWERED) this.#answered()
        else if (length > 0) this.#serve(length)
        else if (this.#isBehind) this.#isBehind = this.#tree.answered?.() ?? false
        else return
      }
      if (this.#isBehind) afterAnswer(this.#tree)
      this.#isBehind = false
    } catch (error) {
      this.#logger.error({ error }, 'the FUSE device failed; the mount ends')
      this.close()
    }
  }

  /** It may look if nobody else needs the processor for what is asked for, or would be. */
  #whenNone(): WhenNone {
    if (this.#isBehind) return 'work'
    if (this.#handedOver || this.#inFlight.count > 0 || this.#filler?.isBusy) return 'sleep'
    return this.#isExpected() ? 'expect' : 'look'
  }

  #isExpected(): boolean {
    if (this.#lastOpcode === Opcode.IOCTL) return true
    return this.#listings?.isWalk ?? this.#context.listingsAhead?.isWalk ?? false
  }

  #answered(): void {
    this.stats.countRequest(Opcode.READDIRPLUS)
    this.#listings?.answered()
    this.#context.listingsAhead?.given()
    this.#lastOpcode = Opcode.READDIRPLUS
    this.#isBehind = true
  }

  #serve(length: number): void {
    const request = this.#request
    if (!request.accept(length)) {
      this.#logger.error({ length }, 'malformed FUSE request')
      return
    }
    const { opcode } = request
    this.#lastOpcode = opcode
    this.stats.countRequest(opcode)
    const operation = OPERATIONS.get(opcode)
    if (operation) this.#perform(operation, request)
    else if (opcode === Opcode.FORGET) this.#forgets.one(request)
    else if (opcode === Opcode.BATCH_FORGET) this.#forgets.many(request)
    else if (opcode === Opcode.INTERRUPT) this.#interrupt(request)
    else if (opcode === Opcode.INIT) this.#init(request)
    else this.#refuse(request, refusalOf(opcode))
  }

  #perform(operation: Operation<unknown>, request: Request): void {
    if (request.bodyLength < operation.bodyBytes) {
      this.#refuse(request, Errno.EINVAL)
      return
    }
    if (request.opcode === Opcode.READ && this.#lateReads.has(request.nodeid)) {
      this.#refuse(request, Errno.ETIMEDOUT)
      return
    }
    this.#handedOver = false
    const read = request.opcode === Opcode.READ && this.#chunkReader ? readRequestOf(request) : undefined
    if (read && this.#handOver(read)) return
    const pending = new PendingRequest(request)
    this.#begin(operation, pending, () => {
      const listed = read && this.#tree.listChunks?.(read.nodeid, pending)
      return listed
        ? listed.then(() => this.#readListed(read, pending))
        : operation.begin(request, this.#context, pending)
    })
  }

  /** To the threads. False: JavaScript is to read it. */
  #handOver(read: ReadRequest): boolean {
    const outcome = this.#chunkReader?.read(read)
    this.#handedOver = outcome === 'taken'
    if (outcome) afterAnswer(this.#tree)
    return outcome !== undefined
  }

  /** The first read of a file waited for its list of chunks; with that, threads bring it in a tenth of the time. */
  #readListed(read: ReadRequest, pending: PendingRequest): Soon<readonly Uint8Array[]> {
    if (pending.answered) return []
    if (!this.#handOver(read)) return this.#tree.read(read.nodeid, read.offset, read.size, pending)
    pending.answered = true
    this.#inFlight.remove(pending)
    return []
  }

  #begin(operation: Operation<unknown>, pending: PendingRequest, begin: () => Soon<unknown>): void {
    let soon: Soon<unknown>
    try {
      soon = begin()
    } catch (error) {
      this.#fail(pending, error)
      return
    }
    if (soon instanceof Promise) this.#wait(operation, pending, soon)
    else this.#finish(operation, pending, soon)
  }

  #wait(operation: Operation<unknown>, pending: PendingRequest, soon: Promise<unknown>): void {
    this.#inFlight.add(pending, this.#options.callMs, () => this.#expire(pending))
    soon
      .then(
        (value) => this.#finish(operation, pending, value),
        (error) => this.#fail(pending, error),
      )
      .catch((error) => this.#logger.error({ error }, `${pending}: answering failed`))
  }

  #finish(operation: Operation<unknown>, pending: PendingRequest, value: unknown): void {
    let delivered = false
    try {
      delivered = !pending.answered && this.#answer(operation, pending, value)
    } finally {
      operation.end?.(value, delivered, this.#context)
    }
  }

  /** True when the kernel took `value` (and not an error in its place). */
  #answer(operation: Operation<unknown>, pending: PendingRequest, value: unknown): boolean {
    let errno: number
    this.#reply.begin()
    try {
      errno = operation.write(value, this.#reply, this.#context)
    } catch (error) {
      this.#fail(pending, error)
      return false
    }
    const taken = this.#send(pending, errno)
    if (pending.opcode === Opcode.READ && taken) this.stats.bytesRead += this.#reply.length - OUT_HEADER.bytes
    return taken && errno === 0
  }

  #fail(pending: PendingRequest, error: unknown): void {
    if (pending.answered) return
    const errno = errnoOf(error)
    if (errno === Errno.EIO || errno === Errno.ETIMEDOUT) this.#logFailure(pending, error)
    if (errno === Errno.ETIMEDOUT && pending.opcode === Opcode.READ) this.#lateReads.add(pending.nodeid)
    this.#send(pending, errno)
  }

  #logFailure(pending: PendingRequest, error: unknown): void {
    const { code, message } = StoreError.from(error)
    const foreseen = error instanceof StoreError
    this.#failures.error(
      { inode: pending.nodeid, code, ...(foreseen ? {} : { error }) },
      `${pending} failed: ${message}`,
    )
  }

  #expire(pending: PendingRequest): void {
    const seconds = this.#options.callMs / 1000
    const error = new StoreError('deadline', `the store gave no answer within ${seconds} s`)
    this.#fail(pending, error)
    pending.abort(error)
  }

  /** Ends a wait before its time: the caller gets an error, the tree learns that nobody wants this any more. */
  #abandon(pending: PendingRequest, reason: StoreError): void {
    this.#fail(pending, reason)
    pending.abort(reason)
  }

  #abandonAll(reason: StoreError): void {
    for (const pending of this.#inFlight.all()) this.#abandon(pending, reason)
  }

  #send(pending: PendingRequest, errno: number): boolean {
    pending.answered = true
    this.#inFlight.remove(pending)
    const taken = this.#sendReply(pending.uniqueLow, pending.uniqueHigh, errno)
    this.#root.tell()
    return taken
  }

  #sendReply(uniqueLow: number, uniqueHigh: number, errno: number): boolean {
    const reply = this.#reply
    reply.finish(uniqueLow, uniqueHigh, errno)
    if (errno !== 0) this.stats.countError(errno)
    return this.#open && this.#write()
  }

  /** True when the kernel took what lies in the reply buffer. */
  #write(): boolean {
    const reply = this.#reply
    try {
      return this.#device.send(reply.bytes, reply.headLength, reply.pieces)
    } catch (error) {
      // The kernel has ended the request with EIO by itself.
      this.#logger.error({ error }, 'the kernel refused a reply')
      return false
    } finally {
      // The memory behind the pieces belongs to caches; it must not be held until the next reply.
      reply.begin()
    }
  }

  /** Answers with an error, without asking the tree. */
  #refuse(request: Request, errno: number): void {
    this.#sendReply(request.uniqueLow, request.uniqueHigh, errno)
  }

  /**
   * A signal arrived for a process that waits. Runtimes send themselves signals all the time and few programs expect
   * EINTR of a file, so an answer that comes soon is still given; after that the call ends with EINTR. No reply to
   * this request itself.
   */
  #interrupt(request: Request): void {
    if (request.bodyLength < INTERRUPT_IN.bytes) return
    const at = INTERRUPT_IN.unique
    const pending = this.#inFlight.find(request.u32(at + LOW), request.u32(at + HIGH))
    // Not there: it was answered while the interrupt was on its way.
    if (!pending) return
    const interrupted = new StoreError('cancelled', 'interrupted by a signal')
    this.#inFlight.shorten(pending, MOUNT_INTERRUPT_GRACE_MS, () => this.#abandon(pending, interrupted))
  }

  #init(request: Request): void {
    const { takesNotifications } = this.#context
    const agreement =
      request.bodyLength < INIT_IN.bytes
        ? 'too-old'
        : negotiate(request, this.#options.passthrough ?? false, takesNotifications)
    if (agreement === 'too-old') {
      this.#refuse(request, Errno.EPROTO)
      this.#ready.reject(new StoreError('unimplemented', 'the kernel speaks a FUSE protocol older than 7.23'))
      return
    }
    this.#reply.begin()
    if (agreement === 'version') this.#reply.version(MAJOR, MINOR)
    else this.#reply.init(agreement, MAJOR)
    this.#sendReply(request.uniqueLow, request.uniqueHigh, 0)
    if (agreement !== 'version') this.#agreed(agreement)
  }

  #agreed({ noOpen, noOpendir, passthrough, minor }: Agreement): void {
    const openFiles = passthrough ? new OpenFiles(this.#device, this.#tree, this.#logger) : undefined
    this.#context = { ...this.#context, noOpen, noOpendir, openFiles }
    if (this.#options.passthrough && !passthrough)
      this.#logger.warn({}, 'this kernel passes no files through (Linux 6.9 does): they are read here')
    this.#logger.debug({ protocol: `${MAJOR}.${minor}`, noOpen, noOpendir }, 'the kernel is connected')
    this.#ready.resolve()
  }

  #dropRootListing(): void {
    this.#reply.begin()
    this.#reply.invalidInode(ROOT_NODE)
    this.#reply.finishNotification(Notify.INVAL_INODE)
    this.#write()
  }
}
