import fs from 'node:fs'
import { promisify } from 'node:util'
import type { Call } from '../../support/call.ts'
import { Semaphore } from '../../support/concurrency.ts'
import { OBJECT_FILES_MAX, READ_ON_SPOT_BYTES_MAX } from '../../support/limits.ts'
import type { ReadPace } from '../../support/read-pace.ts'
import { fileError, saysAbsent } from './file-error.ts'
import type { ByteRange } from './interface.ts'
import { cutRange } from './range.ts'

const open = promisify(fs.open)
const read = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }>
const stat = promisify<string, fs.Stats>(fs.stat)

/** Reads files: small ones on the spot while the disk lets it, all others in the thread pool, so many at a time. */
export class FileReads {
  readonly #pace: ReadPace
  readonly #open = new Semaphore(OBJECT_FILES_MAX)

  constructor(pace: ReadPace) {
    this.#pace = pace
  }

  /** `undefined` when there is no such file. */
  async read(path: string, call?: Call & { range?: ByteRange | undefined }): Promise<Uint8Array | undefined> {
    if (this.#pace.isOnSpot) {
      const found = this.#pace.run(() => readSmallFile(path, call?.range))
      if (found !== TOO_LARGE) return found
    }
    return this.#open.run(() => readFile(path, call?.range), 1, call?.signal)
  }

  /** In bytes; `undefined` when there is no such file. */
  async sizeOf(path: string): Promise<number | undefined> {
    try {
      const stats = this.#pace.isOnSpot
        ? this.#pace.run(() => fs.statSync(path, { throwIfNoEntry: false }))
        : await stat(path)
      return stats?.isFile() ? stats.size : undefined
    } catch (error) {
      if (saysAbsent(error)) return undefined
      throw fileError(`looking for ${path}`, error)
    }
  }
}

/** Waits only where the disk may be waited for: fstat and close of an open file answer from memory. */
async function readFile(path: string, range: ByteRange | undefined): Promise<Uint8Array | undefined> {
  let fd: number | undefined
  try {
    fd = await open(path, 'r')
    const stats = fs.fstatSync(fd)
    if (!stats.isFile()) return undefined
    const { start, end } = cutRange(range, stats.size)
    return await readFully(fd, start, end - start)
  } catch (error) {
    if (saysAbsent(error)) return undefined
    throw fileError(`reading ${path}`, error)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

async function readFully(fd: number, start: number, length: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(length)
  for (let done = 0; done < length; ) {
    const { bytesRead } = await read(fd, bytes, done, length - done, start + done)
    if (bytesRead === 0) throw endsEarly(length - done)
    done += bytesRead
  }
  return bytes
}

const TOO_LARGE = Symbol('too large to be read on the spot')

/** The same without any waiting for others, for small files. */
function readSmallFile(path: string, range: ByteRange | undefined) {
  let fd: number | undefined
  try {
    fd = fs.openSync(path, 'r')
    const stats = fs.fstatSync(fd)
    if (!stats.isFile()) return undefined
    const { start, end } = cutRange(range, stats.size)
    if (end - start > READ_ON_SPOT_BYTES_MAX) return TOO_LARGE
    const bytes = Buffer.allocUnsafeSlow(end - start)
    for (let done = 0; done < bytes.length; ) {
      const bytesRead = fs.readSync(fd, bytes, done, bytes.length - done, start + done)
      if (bytesRead === 0) throw endsEarly(bytes.length - done)
      done += bytesRead
    }
    return bytes
  } catch (error) {
    if (saysAbsent(error)) return undefined
    throw fileError(`reading ${path}`, error)
  } finally {
    if (fd !== undefined) fs.closeSync(fd)
  }
}

function endsEarly(missing: number): Error {
  return new Error(`the file ends ${missing} bytes too early`)
}
