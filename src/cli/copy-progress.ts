import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { formatBytes } from '../support/format.ts'
import { COPY_STALLED_MS } from '../support/limits.ts'
import type { BlobCopyProgress } from '../transfer/copy-blob.ts'
import type { CopyPathsProgress } from '../transfer/copy-paths.ts'
import { formatPaths, formatSeconds, ProgressLine } from './progress.ts'

interface Sized {
  readonly narSize: bigint
}

/** How far a copy is. Time left follows from the NAR sizes of the paths, the only sizes known in advance. */
export class CopyProgress implements BlobCopyProgress, CopyPathsProgress, IngestProgress {
  readonly #pathsTotal: number
  readonly #bytesTotal: number
  readonly #present: number
  readonly #now: () => number
  readonly #started: number
  #lastSign: number
  #paths = 0
  #bytesDone = 0
  #moved = 0
  #reused = 0
  readonly #checking = new Set<Sized>()
  readonly #output: ProgressLine

  /** `present`: how many paths the destination had before. `now` (milliseconds) is for tests. */
  constructor(missing: readonly Sized[], present: number, now = () => performance.now()) {
    this.#pathsTotal = missing.length
    this.#bytesTotal = missing.reduce((sum, { narSize }) => sum + Number(narSize), 0)
    this.#present = present
    this.#now = now
    this.#started = this.#lastSign = now()
    this.#output = new ProgressLine(() => this.line())
  }

  moved(bytes: number): void {
    this.#moved += bytes
    this.#sign()
  }

  present(bytes: number): void {
    this.#reused += bytes
    this.#sign()
  }

  read(bytes: number): void {
    this.moved(bytes)
  }

  file(): void {
    this.#sign()
  }

  checking(path: Sized): void {
    this.#checking.add(path)
    this.#sign()
  }

  done(path: Sized): void {
    this.#checking.delete(path)
    this.#paths++
    this.#bytesDone += Number(path.narSize)
    this.#sign()
  }

  finish(): void {
    const bytes = `${formatBytes(this.#moved)} of ${formatBytes(this.#bytesTotal)} moved`
    const before = `${this.#present} present before`
    const paths = formatPaths(this.#paths, this.#pathsTotal)
    this.#output.finish(
      `copied ${paths} (${before}), ${bytes} at ${this.#rate()}, ${formatSeconds(this.#seconds)}`,
    )
  }

  stop(): void {
    this.#output.stop()
  }

  get summary(): object {
    return {
      paths: { copied: this.#paths, present: this.#present },
      narBytes: this.#bytesTotal,
      movedBytes: this.#moved,
      seconds: Number(this.#seconds.toFixed(3)),
    }
  }

  line(): string {
    const paths = formatPaths(this.#paths, this.#pathsTotal)
    const bytes = `${formatBytes(this.#covered)} of ${formatBytes(this.#bytesTotal)}`
    return `copying ${paths}, ${bytes}, ${formatBytes(this.#moved)} moved at ${this.#rate()}, ${this.#outlook()}`
  }

  /** Bytes of NARs that need no more work, but for the check: an estimate while paths are underway. */
  get #covered(): number {
    return Math.min(this.#bytesTotal, Math.max(this.#bytesDone, this.#moved + this.#reused))
  }

  get #seconds(): number {
    return (this.#now() - this.#started) / 1000
  }

  #outlook(): string {
    const silence = this.#now() - this.#lastSign
    if (silence >= COPY_STALLED_MS) {
      const doing = this.#checking.size > 0 ? `checking ${count(this.#checking.size)}` : 'stalled'
      return `${doing} for ${formatSeconds(silence / 1000)}`
    }
    const covered = this.#covered
    if (covered === 0) return `${formatSeconds(this.#seconds)}`
    return `about ${formatSeconds((this.#seconds * (this.#bytesTotal - covered)) / covered)} left`
  }

  #rate(): string {
    return `${formatBytes(this.#moved / Math.max(this.#seconds, 0.001))}/s`
  }

  #sign(): void {
    this.#lastSign = this.#now()
  }
}

function count(nars: number): string {
  return nars === 1 ? '1 NAR' : `${nars} NARs`
}
