import type { FileHandle } from 'node:fs/promises'
import { Digest, Digester } from '../../model/castore/digest.ts'
import { concatBytes } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { SingleFlight } from '../../support/concurrency.ts'
import { StoreError } from '../../support/errors.ts'
import { CACHE_HELD_BYTES_MAX } from '../../support/limits.ts'
import type { Source } from '../source-set.ts'
import type { CacheFolder, NewFile } from './cache-folder.ts'
import type { GuardedFolder } from './guarded-folder.ts'
import type { BlobService, BlobStream } from './interface.ts'
import { filePieces, type LocalFile } from './verified-file.ts'

/** A blob on its way from far: all of it, or its beginning and the rest. */
type Fetched = { readonly bytes: Uint8Array } | { rest: AsyncGenerator<Uint8Array> | undefined } | undefined

/** The blobs that a cache folder has as a whole, and those that become that when they are read from far. */
export class WholeBlobs {
  readonly #far: Source<BlobService>
  readonly #folder: GuardedFolder
  readonly #files: CacheFolder
  readonly #fetches = new SingleFlight<string, Fetched>()

  constructor(far: Source<BlobService>, folder: GuardedFolder) {
    this.#far = far
    this.#folder = folder
    this.#files = folder.files
  }

  async has(digest: Digest): Promise<boolean> {
    const file = await this.#folder.attempt(() => this.#files.openWhole(digest))
    await file?.close()
    return file !== undefined
  }

  async openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined> {
    const file = await this.#folder.attempt(() => this.#files.openWhole(digest))
    if (!file) return undefined
    try {
      const { size } = await file.stat()
      const verdict = await this.#folder.verification.verify(file, digest, call)
      if (verdict !== 'wrong')
        return {
          fd: file.fd,
          size,
          wasRead: verdict === 'read',
          [Symbol.asyncDispose]: () => file.close(),
        }
    } catch (error) {
      await file.close()
      if (call?.signal?.aborted) throw error
      this.#folder.failed(error)
      return undefined
    }
    await file.close()
    await this.#folder.spoilt(digest)
    return undefined
  }

  /** Small ones are verified before they are handed out, large ones at their end. */
  async open(digest: Digest, call: Call | undefined): Promise<BlobStream | undefined> {
    const file = await this.#folder.attempt(() => this.#files.openWhole(digest))
    if (!file) return undefined
    const size = await this.#folder.attempt(async () => (await file.stat()).size)
    if (size !== undefined && size > CACHE_HELD_BYTES_MAX) return this.#verifiedPieces(file, digest, call)
    const bytes = size === undefined ? undefined : await this.#folder.attempt(() => readWhole(file, size))
    await file.close()
    if (bytes && Digest.of(bytes).equals(digest)) return pieces(bytes)
    await this.#folder.spoilt(digest)
    return undefined
  }

  /** `undefined` when it is not here as a whole. */
  async size(digest: Digest): Promise<number | undefined> {
    return await this.#folder.attempt(async () => {
      const file = await this.#files.openWhole(digest)
      try {
        return file && (await file.stat()).size
      } finally {
        await file?.close()
      }
    })
  }

  async *#verifiedPieces(
    file: FileHandle,
    digest: Digest,
    call: Call | undefined,
  ): AsyncGenerator<Uint8Array> {
    const digester = new Digester()
    let last: Uint8Array | undefined
    try {
      for await (const piece of filePieces(file, call)) {
        digester.update(piece)
        if (last) yield last
        last = piece
      }
    } catch (error) {
      if (call?.signal?.aborted) throw error
      await this.#folder.spoilt(digest)
      const message = `blob ${digest} in ${this.#files.path} could not be read to its end; read it again`
      throw new StoreError('unavailable', message, { cause: error })
    } finally {
      await file.close()
    }
    if (!digester.digest().equals(digest)) {
      await this.#folder.spoilt(digest)
      throw new StoreError('corrupt', `blob ${digest} in ${this.#files.path} was corrupt; read it again`)
    }
    if (last) yield last
  }

  async fetch(digest: Digest, call: Call | undefined): Promise<BlobStream | undefined> {
    const fetched = await this.#fetches.run(digest.key, (inner) => this.#fetchStart(digest, inner), call)
    if (!fetched) return undefined
    if ('bytes' in fetched) return pieces(new Uint8Array(fetched.bytes))
    // The first to come has the rest of the stream; the others read for themselves.
    const { rest } = fetched
    fetched.rest = undefined
    return rest ? heeding(rest, call) : await this.#far.service.openRead(digest, call)
  }

  async #fetchStart(digest: Digest, call: Call): Promise<Fetched> {
    const stream = await this.#far.service.openRead(digest, call)
    if (!stream) return undefined
    const source = stream[Symbol.asyncIterator]()
    const held: Uint8Array[] = []
    let size = 0
    for (let piece = await source.next(); !piece.done; piece = await source.next()) {
      held.push(piece.value)
      size += piece.value.length
      if (size > CACHE_HELD_BYTES_MAX) return { rest: this.#copied(digest, held, source) }
    }
    await this.#folder.attempt(async () => {
      const file = await this.#files.startWhole(digest)
      await writing(file, async () => {
        for (const piece of held) await file.write(piece)
        await file.keep()
      })
      this.#folder.wrote(size)
    })
    return { bytes: held.length === 1 ? held[0]! : concatBytes(held, size) }
  }

  /** Hands on a large blob and keeps it when it was read to its end. */
  async *#copied(
    digest: Digest,
    held: readonly Uint8Array[],
    source: AsyncIterator<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let file = await this.#folder.attempt(() => this.#files.startWhole(digest))
    const write = async (piece: Uint8Array) => {
      const done = await this.#folder.attempt(async () => {
        await file!.write(piece)
        return true
      })
      this.#folder.wrote(piece.length)
      if (done) return
      await file!.abort().catch(() => {})
      file = undefined
    }
    try {
      for (const piece of held) {
        if (file) await write(piece)
        yield piece
      }
      for (let piece = await source.next(); !piece.done; piece = await source.next()) {
        if (file) await write(piece.value)
        yield piece.value
      }
      await this.#folder.attempt(async () => file?.keep())
      file = undefined
    } finally {
      await source.return?.()
      await file?.abort().catch(() => {})
    }
  }
}

async function readWhole(file: FileHandle, size: number): Promise<Uint8Array> {
  const bytes = Buffer.allocUnsafeSlow(size)
  await file.read(bytes, 0, size, 0)
  return bytes
}

async function writing(file: NewFile, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    await file.abort()
    throw error
  }
}

/** What was opened for several ends for each with a signal of its own. */
async function* heeding(
  stream: AsyncGenerator<Uint8Array>,
  call: Call | undefined,
): AsyncGenerator<Uint8Array> {
  for await (const piece of stream) {
    throwIfAborted(call?.signal)
    yield piece
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes
}
