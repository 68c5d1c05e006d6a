import { fstat, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { BLAKE3_BYTES } from '../../model/castore/blake3.ts'
import { Digest } from '../../model/castore/digest.ts'
import { utf8, view } from '../../support/bytes.ts'
import { HASHED_MARK_BYTES_MIN } from '../../support/limits.ts'
import { nativeFileNotes } from './native-file-notes.ts'

const stat = promisify(fstat)

/** The extended attribute (docs/cache-format.md). */
export const HASHED_ATTRIBUTE = 'user.tvix-store.hashed'

/** Of its value. */
export const HASHED_MARK_BYTES = BLAKE3_BYTES

/** Which file it is and what can be told of its contents without reading them. */
export interface FileState {
  readonly dev: bigint
  readonly ino: bigint
  readonly size: bigint
  readonly mtimeNs: bigint
}

/**
 * A note on a file that it was read and is the blob it should be, so that the next process need not read all of it again. It
 * holds as long as the file is the same one (a copy is not), nobody wrote to it, and the machine runs: what no fsync made
 * durable may be anything after a power cut. Whoever may write to the file can forge it; but they could as well write once
 * the file is open.
 *
 * Where there are no such attributes there are no marks, and everything is read.
 */
export class HashedMark {
  readonly #bootId: () => string | undefined

  constructor(bootId = ownBootId) {
    this.#bootId = bootId
  }

  async fits(fd: number, state: FileState, digest: Digest): Promise<boolean> {
    const found = new Uint8Array(HASHED_MARK_BYTES)
    const length = await nativeFileNotes()?.getAttribute(fd, HASHED_ATTRIBUTE, found)
    return length === found.length && this.isOf(found, state, digest)
  }

  /** Whether this is the value of a mark on that file. */
  isOf(found: Uint8Array, state: FileState, digest: Digest): boolean {
    const expected = this.#value(state, digest)
    return expected !== undefined && view(found).equals(expected)
  }

  /** `state`: from before the file was read, so that a mark does not fit what was written meanwhile. */
  async set(fd: number, state: FileState, digest: Digest): Promise<void> {
    const value = this.#value(state, digest)
    // What cannot be noted (no such attributes here, not our file, no space) costs reading it again.
    if (value) await nativeFileNotes()?.setAttribute(fd, HASHED_ATTRIBUTE, value)
  }

  /** As `set`, for a file that nobody but us has written to, and whose contents were hashed on their way. */
  async setWritten(fd: number, digest: Digest): Promise<void> {
    await this.set(fd, await stat(fd, { bigint: true }), digest)
  }

  /** 32 bytes: with what a file system has there already they fit into the inode. */
  #value({ dev, ino, size, mtimeNs }: FileState, digest: Digest): Uint8Array | undefined {
    const bootId = size < HASHED_MARK_BYTES_MIN ? undefined : this.#bootId()
    if (bootId === undefined) return undefined
    return Digest.of(utf8([digest.hex, bootId, dev, ino, size, mtimeNs].join(' '))).bytes
  }
}

let bootIdRead: string | undefined

/** Changes with every start of the machine. */
function ownBootId(): string | undefined {
  bootIdRead ??= readBootId()
  return bootIdRead
}

function readBootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
  } catch {
    return undefined
  }
}
