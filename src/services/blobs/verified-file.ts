import type { FileHandle } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import { type Digest, Digester } from '../../model/castore/digest.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { LOCAL_FILES_VERIFIED_MAX, READ_BUFFER_BYTES } from '../../support/limits.ts'
import { HashedMark } from './hashed-mark.ts'

/** A whole blob as a file of this machine, verified. */
export interface LocalFile extends AsyncDisposable {
  /** Open for reading until it is disposed of; evicting the blob does not change that. */
  readonly fd: number
  /** Bytes. */
  readonly size: number
  /** All of it was read just now, since nothing told that it is right. */
  readonly wasRead: boolean
}

/** `known`: it was read before, and nobody wrote to it since. */
export type FileVerdict = 'known' | 'read' | 'wrong'

/** Reads files of this machine to see whether they are the blobs they should be, each once while it stays unchanged. */
export class FileVerification {
  readonly #mark: HashedMark
  /** What the file was when it was right: writing to it changes its time of change, which nobody can set. */
  readonly #right = new LRUCache<string, string>({ max: LOCAL_FILES_VERIFIED_MAX })

  constructor(mark = new HashedMark()) {
    this.#mark = mark
  }

  async verify(file: FileHandle, digest: Digest, call: Call | undefined): Promise<FileVerdict> {
    const before = await file.stat({ bigint: true })
    const state = `${before.dev} ${before.ino} ${before.size} ${before.ctimeNs}`
    if (this.#right.get(digest.key) === state) return 'known'
    if (await this.#mark.fits(file.fd, before, digest)) {
      this.#right.set(digest.key, state)
      return 'known'
    }
    if (!(await hasDigest(file, digest, call))) return 'wrong'
    await this.#mark.set(file.fd, before, digest)
    this.#right.set(digest.key, state)
    return 'read'
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
