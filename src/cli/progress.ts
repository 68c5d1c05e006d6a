/**
 * Progress of long work on standard error: one line that is redrawn on a terminal, a plain line every few seconds
 * elsewhere. Standard output is never touched.
 */

import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { formatBytes } from '../support/format.ts'

const REDRAW_MS = 100
const PLAIN_LINE_MS = 5_000
/** Of a terminal that does not tell its width. */
const DEFAULT_COLUMNS = 80

/** Keeps one line about the state of things up to date. */
export class ProgressLine {
  readonly #line: () => string
  /** Whether a line can be drawn over. */
  readonly #terminal = process.stderr.isTTY === true && process.env['TERM'] !== 'dumb'
  readonly #timer: NodeJS.Timeout

  constructor(line: () => string) {
    this.#line = line
    this.#timer = setInterval(() => this.#draw(), this.#terminal ? REDRAW_MS : PLAIN_LINE_MS)
    this.#timer.unref()
  }

  /** Writes a line of results to standard output without tearing the progress line apart. */
  print(line: string): void {
    this.#clear()
    process.stdout.write(`${line}\n`)
  }

  /** Ends with a summary line. */
  finish(summary: string): void {
    this.stop()
    process.stderr.write(`${summary}\n`)
  }

  /** Ends without a summary, after a failure. */
  stop(): void {
    clearInterval(this.#timer)
    this.#clear()
  }

  #draw(): void {
    const line = this.#line()
    // A line that wraps cannot be drawn over: only its last row would be.
    process.stderr.write(this.#terminal ? `\r\x1b[K${line.slice(0, this.#columns - 1)}` : `${line}\n`)
  }

  get #columns(): number {
    return process.stderr.columns || DEFAULT_COLUMNS
  }

  #clear(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[K')
  }
}

export class ImportProgress implements IngestProgress {
  #files = 0
  #bytes = 0
  #paths = 0
  readonly #pathsTotal: number
  readonly #started = performance.now()
  readonly #output = new ProgressLine(() => this.#line('importing'))

  constructor(pathsTotal: number) {
    this.#pathsTotal = pathsTotal
  }

  read(bytes: number): void {
    this.#bytes += bytes
  }

  file(): void {
    this.#files++
  }

  path(): void {
    this.#paths++
  }

  print(line: string): void {
    this.#output.print(line)
  }

  finish(): void {
    this.#output.finish(this.#line('imported'))
  }

  stop(): void {
    this.#output.stop()
  }

  #line(verb: string): string {
    const seconds = (performance.now() - this.#started) / 1000
    const rate = `${formatBytes(this.#bytes / Math.max(seconds, 0.001))}/s`
    const files = `${this.#files} ${this.#files === 1 ? 'file' : 'files'}`
    const paths = formatPaths(this.#paths, this.#pathsTotal)
    return `${verb} ${paths}, ${files}, ${formatBytes(this.#bytes)} at ${rate}, ${formatSeconds(seconds)}`
  }
}

/** `3/5 paths` */
export function formatPaths(done: number, total: number): string {
  return `${done}/${total} ${total === 1 ? 'path' : 'paths'}`
}

export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}
