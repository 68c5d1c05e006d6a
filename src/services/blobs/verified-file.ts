import type { FileHandle } from 'node:fs/promises'
import { LRUCache } from 'lru-cache'
import { type Digest, Digester } from '../../model/castore/digest.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { LOCAL_FILES_VERIFIED_MAX, READ_BUFFER_BYTES } from '../../support/limits.ts'

/** A whole blob as a file of this machine, verified. */
export interface LocalFile extends AsyncDisposable {
  /** Open for reading until it is disposed of; evicting the blob does not change that. */
  readonly fd: number
  /** Bytes. */
  readonly size: number
}

/** Reads files of this machine to see whether they are the blobs they should be, each once while it stays unchanged. */
export class FileVerification {
  /** What the file was when it was right: writing to it changes its time of change, which nobody can set. */
  readonly #right = new LRUCache<string, string>({ max: LOCAL_FILES_VERIFIED_MAX })

  async isRight(file: FileHandle, digest: Digest, call: Call | undefined): Promise<boolean> {
    const { dev, ino, size, ctimeNs } = await file.stat({ bigint: true })
    const state = `${dev} ${ino} ${size} ${ctimeNs}`
    if (this.#right.get(digest.key) === state) return true
    if (!(await hasDigest(file, digest, call))) return false
    this.#right.set(digest.key, state)
    return true
  }
}

/** Reads all of a file. */
export async function hasDigest(file: FileHandle, digest: Digest, call: Call | undefined): Promise<boolean> {
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
