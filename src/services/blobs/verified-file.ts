import { closeSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import { type Digest, Digester } from '../../model/castore/digest.ts'
import { view } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { LOCAL_FILES_VERIFIED_MAX, READ_BUFFER_BYTES } from '../../support/limits.ts'
import { decodeFileState, encodeFileState, FILE_STATE_BYTES, type FileStats } from './file-state.ts'
import { HASHED_ATTRIBUTE, HASHED_MARK_BYTES, HashedMark } from './hashed-mark.ts'
import { nativeFileNotes } from './native-file-notes.ts'

/** A whole blob as a file of this machine, verified. */
export interface LocalFile extends AsyncDisposable {
  /** Open for reading until it is disposed of; evicting the blob does not change that. */
  readonly fd: number
  /** Bytes. */
  readonly size: number
  /** All of it was read just now, since nothing told that it is right. */
  readonly wasRead: boolean
}

const NONE = new Uint8Array(0)

/** `known`: it was read before, and nobody wrote to it since. */
export type FileVerdict = 'known' | 'read' | 'wrong'

export interface KnownFile extends LocalFile {
  /** What it was when it was right, and is (file-state.ts). */
  readonly state: Uint8Array
}

/** Reads files of this machine to see whether they are the blobs they should be, each once while it stays unchanged. */
export class FileVerification {
  readonly #mark: HashedMark
  /** What the file was when it was right: writing to it changes its time of change, which nobody can set. */
  readonly #right = new LRUCache<string, Uint8Array>({ max: LOCAL_FILES_VERIFIED_MAX })

  constructor(mark = new HashedMark()) {
    this.#mark = mark
  }

  async verify(file: FileHandle, digest: Digest, call: Call | undefined): Promise<FileVerdict> {
    const before = await file.stat({ bigint: true })
    if (await this.#known(file, before, digest)) return 'known'
    if (!(await hasDigest(file, digest, call))) return 'wrong'
    await this.#mark.set(file.fd, before, digest)
    this.#right.set(digest.key, encodeFileState(before))
    return 'read'
  }

  /** The state of a file that is known to be right; `undefined` for one that would have to be read to tell. */
  async known(file: FileHandle, digest: Digest): Promise<Uint8Array | undefined> {
    return await this.#known(file, await file.stat({ bigint: true }), digest)
  }

  /**
   * Without waiting: opens a marked file that is known to be right, if all that it takes is in the kernel's memory. `undefined`: who
   * may wait finds out.
   */
  openKnown(path: string, digest: Digest): KnownFile | undefined {
    const noted = new Uint8Array(FILE_STATE_BYTES + HASHED_MARK_BYTES)
    const fd = nativeFileNotes()?.openNoted(path, HASHED_ATTRIBUTE, noted) ?? -1
    if (fd < 0) return undefined
    const state = noted.subarray(0, FILE_STATE_BYTES)
    const stats = decodeFileState(state)
    if (this.#mark.isOf(noted.subarray(FILE_STATE_BYTES), stats, digest))
      return {
        fd,
        state,
        size: Number(stats.size),
        wasRead: false,
        [Symbol.asyncDispose]: async () => closeSync(fd),
      }
    closeSync(fd)
    return undefined
  }

  async #known(file: FileHandle, stats: FileStats, digest: Digest): Promise<Uint8Array | undefined> {
    const state = encodeFileState(stats)
    if (view(this.#right.get(digest.key) ?? NONE).equals(state)) return state
    if (!(await this.#mark.fits(file.fd, stats, digest))) return undefined
    this.#right.set(digest.key, state)
    return state
  }
}

/** Reads all of a file. */
async function hasDigest(file: FileHandle, digest: Digest, call: Call | undefined): Promise<boolean> {
  const digester = new Digester()
  for await (const piece of filePieces(file, call)) digester.update(piece)
  return digester.digest().equals(digest)
}

/** An open file from its beginning to its end. */
export async function* filePieces(file: FileHandle, call: Call | undefined): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    throwIfAborted(call?.signal)
    const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return
    position += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}
