import type { NarEvent } from '../model/nar/event.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { NarDigest } from '../services/pathinfos/interface.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_HASH_BYTES_MAX, NAR_HASH_STEPS_MAX } from '../support/limits.ts'
import { ChangedFile, createSha256, type SourceFile } from '../support/native-sha256.ts'
import { changedFile, sourceError } from './source.ts'

/** A file that is being read: its contents are hashed when its turn has come. */
export interface NarFile {
  /** Resolves when these bytes were hashed, until when they must stay unchanged. */
  write(bytes: Uint8Array): Promise<void>
  end(): void
}

type Step =
  | { readonly kind: 'event'; readonly event: NarEvent }
  | { readonly kind: 'known'; readonly file: SourceFile; readonly executable: boolean }
  | { readonly kind: 'file'; readonly file: OpenFile }

/**
 * Size and hash of the NAR of a tree while it is walked, in the order of a NAR, from the same bytes that are stored: so
 * nothing has to be read back, and both describe the same state. Files whose contents are known are read by the hash
 * itself. If all of them are, perhaps nobody needs the hash: it waits until somebody does.
 */
export class SourceNar {
  readonly #sha256 = createSha256()
  readonly #writer = new NarWriter()
  #steps: Step[] = []
  #next = 0
  /** To be hashed, and those who wait for that. */
  #parts: (Uint8Array | SourceFile)[] = []
  #partBytes = 0
  #waiting: PromiseWithResolvers<void>[] = []
  /** Called when there is something new to do, or to wait for. */
  #wake: (() => void) | undefined
  #room: PromiseWithResolvers<void> | undefined
  #isComplete = false
  #running: Promise<void> | undefined
  #failure: StoreError | undefined

  /** What is no file. */
  event(event: NarEvent): void {
    this.#add({ kind: 'event', event })
  }

  file(size: number, executable: boolean): NarFile {
    const file = new OpenFile(
      size,
      executable,
      () => this.#wakeUp(),
      () => this.#failure,
    )
    this.#add({ kind: 'file', file })
    this.#start()
    return file
  }

  /** Its contents need not be read for any other purpose. */
  knownFile(file: SourceFile, executable: boolean): void {
    this.#add({ kind: 'known', file, executable })
  }

  /** The walk must not run far ahead of the hash. */
  get isFull(): boolean {
    return this.#steps.length - this.#next >= NAR_HASH_STEPS_MAX
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
    return { narSize: BigInt(this.#writer.bytesWritten), narSha256: this.#sha256.digest() }
  }

  /** Nobody needs the hash, or it cannot be had any more: those who wait for it are told why. */
  fail(error: unknown): void {
    this.#failure ??= error instanceof StoreError ? error : failureOf(error)
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure)
    for (const step of this.#steps.slice(this.#next)) if (step.kind === 'file') step.file.fail(this.#failure)
    this.#steps = []
    this.#next = 0
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
      if (step && this.#take(step)) this.#advance()
      else if (this.#parts.length > 0 || this.#writer.pendingBytes > 0) await this.#flush()
      else if (!step && this.#isComplete) return
      else await new Promise<void>((resolve) => (this.#wake = resolve))
      if (this.#partBytes + this.#writer.pendingBytes >= NAR_HASH_BYTES_MAX) await this.#flush()
    }
  }

  #advance(): void {
    this.#next++
    if (this.#next < NAR_HASH_STEPS_MAX / 2) return
    this.#steps = this.#steps.slice(this.#next)
    this.#next = 0
    this.#room?.resolve()
    this.#room = undefined
  }

  /** True when the step is done. */
  #take(step: Step): boolean {
    if (step.kind === 'event') this.#writer.write(step.event)
    else if (step.kind === 'known') this.#known(step.file, step.executable)
    else return this.#file(step.file)
    return true
  }

  #known(file: SourceFile, executable: boolean): void {
    const size = Number(file.state.size)
    this.#writer.write({ type: 'file', executable, size })
    this.#takeWritten()
    this.#parts.push(file)
    this.#partBytes += size
    this.#writer.skipContents(size)
    this.#writer.write({ type: 'end-file' })
  }

  #file(file: OpenFile): boolean {
    if (!file.isBegun) this.#writer.write({ type: 'file', executable: file.executable, size: file.size })
    file.isBegun = true
    for (const { bytes, hashed } of file.take()) {
      this.#writer.write({ type: 'contents', bytes })
      this.#waiting.push(hashed)
    }
    if (file.isEnded) this.#writer.write({ type: 'end-file' })
    return file.isEnded
  }

  #takeWritten(): void {
    for (const piece of this.#writer.take()) {
      this.#parts.push(piece)
      this.#partBytes += piece.length
    }
  }

  async #flush(): Promise<void> {
    this.#takeWritten()
    const parts = this.#parts
    const waiting = this.#waiting
    this.#parts = []
    this.#partBytes = 0
    this.#waiting = []
    try {
      await this.#sha256.update(parts)
    } catch (error) {
      const failure = failureOf(error)
      for (const { reject } of waiting) reject(failure)
      throw failure
    }
    for (const { resolve } of waiting) resolve()
  }
}

class OpenFile implements NarFile {
  readonly size: number
  readonly executable: boolean
  readonly #wake: () => void
  readonly #failure: () => StoreError | undefined
  #written: { readonly bytes: Uint8Array; readonly hashed: PromiseWithResolvers<void> }[] = []
  isBegun = false
  isEnded = false

  constructor(size: number, executable: boolean, wake: () => void, failure: () => StoreError | undefined) {
    this.size = size
    this.executable = executable
    this.#wake = wake
    this.#failure = failure
  }

  async write(bytes: Uint8Array): Promise<void> {
    const failure = this.#failure()
    if (failure) throw failure
    const hashed = Promise.withResolvers<void>()
    this.#written.push({ bytes, hashed })
    this.#wake()
    await hashed.promise
  }

  end(): void {
    this.isEnded = true
    this.#wake()
  }

  take() {
    return this.#written.splice(0)
  }

  fail(error: StoreError): void {
    for (const { hashed } of this.take()) hashed.reject(error)
  }
}

function failureOf(error: unknown): StoreError {
  if (error instanceof ChangedFile) return changedFile(error.path)
  const { path } = error as { path?: unknown }
  return path instanceof Uint8Array ? sourceError('read', path, error) : StoreError.from(error)
}
