import type { NarDigest } from '../services/pathinfos/interface.ts'
import { StoreError } from '../support/errors.ts'
import {
  NAR_GIVEN_BYTES_MAX,
  NAR_HASH_AHEAD_MAX,
  NAR_HASH_BYTES_MAX,
  NAR_STEPS_DONE_MAX,
} from '../support/limits.ts'
import type { SourceRecords } from '../support/source-records.ts'
import { createNarHash, markGiven, type NarHash, type NarPart } from './nar-hash.ts'

/** A file that is being read: its contents are hashed when its turn has come. */
export interface NarFile {
  /** Resolves when these bytes were hashed, until when they must stay unchanged. */
  write(bytes: Uint8Array): Promise<void>
}

interface RecordsStep {
  readonly kind: 'records'
  readonly records: SourceRecords
  /** What is before was taken. */
  from: number
  readonly to: number
}

/** In the order of the walk: records, or the contents of the file that was the last of them. */
type Step = RecordsStep | { readonly kind: 'file'; readonly file: GivenFile }

/**
 * Size and hash of the NAR of a tree while it is walked. Files that are stored are hashed of the same bytes: so nothing has to
 * be read back, and both describe the same state. Files whose contents are known are read by the hash itself. If all of them
 * are, perhaps nobody needs the hash: it waits until somebody does.
 */
export class SourceNar {
  readonly #hash: NarHash
  #steps: Step[] = []
  /** The first that is not done. */
  #next = 0
  /** Entries in the steps. */
  #ahead = 0
  /** To be hashed in the next trip, how much of that is to be read and how much was given, and those who wait for it. */
  #parts: NarPart[] = []
  #partBytes = 0
  #givenBytes = 0
  #waiting: PromiseWithResolvers<void>[] = []
  /** Called when there is something new to do, or to wait for. */
  #wake: (() => void) | undefined
  #room: PromiseWithResolvers<void> | undefined
  #isComplete = false
  #running: Promise<void> | undefined
  #failure: StoreError | undefined

  /** Of the tree at `path`. */
  constructor(path: Uint8Array) {
    this.#hash = createNarHash(path)
  }

  /** What the walk found, in its order; the contents of the files are the hash's business. */
  records(records: SourceRecords, from: number, to: number): void {
    if (from === to) return
    this.#ahead += to - from
    this.#add({ kind: 'records', records, from, to })
  }

  /** The next entry is a file that is read now. */
  file(records: SourceRecords, i: number): NarFile {
    markGiven(records, i)
    this.records(records, i, i + 1)
    const file = new GivenFile(
      Number(records.size(i)),
      () => this.#wakeUp(),
      () => this.#failure,
    )
    this.#add({ kind: 'file', file })
    this.#start()
    return file
  }

  /** The walk must not run far ahead of the hash. */
  get isFull(): boolean {
    return this.#ahead >= NAR_HASH_AHEAD_MAX
  }

  /** Resolves when the walk may go on. */
  async room(): Promise<void> {
    if (!this.isFull) return
    this.#start()
    this.#room ??= Promise.withResolvers()
    await this.#room.promise
    if (this.#failure) throw this.#failure
  }

  /** When all was said. `known`: what it must be; then it is not calculated, unless that has begun. */
  async finish(known?: NarDigest): Promise<NarDigest> {
    if (known && !this.#running) return known
    this.#isComplete = true
    this.#start()
    this.#wakeUp()
    await this.#running
    if (this.#failure) throw this.#failure
    return this.#hash.digest()
  }

  /** Nobody needs the hash, or it cannot be had any more: those who wait for it are told why. */
  fail(error: unknown): void {
    this.#failure ??= StoreError.from(error)
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
    for (const step of this.#steps.splice(this.#next)) if (step.kind === 'file') step.file.fail(this.#failure)
    this.#room?.resolve()
    this.#wakeUp()
  }

  #add(step: Step): void {
    this.#steps.push(step)
    this.#wakeUp()
  }

  #wakeUp(): void {
    this.#wake?.()
    this.#wake = undefined
  }

  #start(): void {
    this.#running ??= this.#run().catch((error) => this.fail(error))
  }

  async #run(): Promise<void> {
    while (!this.#failure) {
      const step = this.#steps[this.#next]
      if (step && !this.#isTripFull && this.#take(step)) this.#advance()
      else if (this.#parts.length > 0) await this.#flush()
      else if (!step && this.#isComplete) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  get #isTripFull(): boolean {
    return this.#partBytes >= NAR_HASH_BYTES_MAX || this.#givenBytes >= NAR_GIVEN_BYTES_MAX
  }

  #advance(): void {
    this.#next++
    if (this.#next < NAR_STEPS_DONE_MAX) return
    this.#steps = this.#steps.slice(this.#next)
    this.#next = 0
  }

  /** True when the step is done. */
  #take(step: Step): boolean {
    return step.kind === 'file' ? this.#given(step.file) : this.#found(step)
  }

  #given(file: GivenFile): boolean {
    for (const { bytes, hashed } of file.take()) {
      this.#parts.push(bytes)
      this.#givenBytes += bytes.length
      this.#waiting.push(hashed)
    }
    return file.isDone
  }

  #found(step: RecordsStep): boolean {
    const { records, from, to } = step
    let end = from
    for (; end < to && !this.#isTripFull; end++)
      if (records.kind(end) === 'file') this.#partBytes += Number(records.size(end))
    this.#parts.push({ records, from, to: end })
    step.from = end
    this.#ahead -= end - from
    if (!this.isFull) {
      this.#room?.resolve()
      this.#room = undefined
    }
    return end === to
  }

  async #flush(): Promise<void> {
    const parts = this.#parts
    const waiting = this.#waiting
    this.#parts = []
    this.#waiting = []
    this.#partBytes = 0
    this.#givenBytes = 0
    try {
      await this.#hash.update(parts)
    } catch (error) {
      const failure = StoreError.from(error)
      for (const { reject } of waiting) reject(failure)
      throw failure
    }
    for (const { resolve } of waiting) resolve()
  }
}

class GivenFile implements NarFile {
  readonly #wake: () => void
  readonly #failure: () => StoreError | undefined
  #written: { readonly bytes: Uint8Array; readonly hashed: PromiseWithResolvers<void> }[] = []
  /** Bytes that were not taken yet. */
  #missing: number

  constructor(size: number, wake: () => void, failure: () => StoreError | undefined) {
    this.#missing = size
    this.#wake = wake
    this.#failure = failure
  }

  get isDone(): boolean {
    return this.#missing === 0
  }

  async write(bytes: Uint8Array): Promise<void> {
    const failure = this.#failure()
    if (failure) throw failure
    const hashed = Promise.withResolvers<void>()
    this.#written.push({ bytes, hashed })
    this.#wake()
    await hashed.promise
  }

  take() {
    const written = this.#written
    this.#written = []
    for (const { bytes } of written) this.#missing -= bytes.length
    return written
  }

  fail(error: StoreError): void {
    for (const { hashed } of this.take()) hashed.reject(error)
  }
}
