import { open } from 'node:fs/promises'
import { type Digest, EMPTY_DIGEST } from '../../model/castore/digest.ts'
import { utf8, view } from '../../support/bytes.ts'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { StoreError, systemCode } from '../../support/errors.ts'
import { CHUNK_BYTES_MAX, READ_BUFFER_BYTES } from '../../support/limits.ts'
import { type FileObjects, openFileObjectStore } from '../objects/file.ts'
import { fileError } from '../objects/file-error.ts'
import { decodeCacheMap } from './cache-map.ts'
import { checkChunkList } from './chunk-list.ts'
import type { LocalChunkSource } from './chunk-places.ts'
import {
  BLOBS_PREFIX,
  blobKey,
  type ChunkPlace,
  decodePlace,
  mapKey,
  placeKey,
  RAW_BLOBS_VERSION,
  VERSION_KEY,
} from './file-blobs-layout.ts'
import { FileBlobWriter } from './file-blobs-writer.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { KnownFiles } from './known-files.ts'
import { FileVerification, filePieces, type LocalFile } from './verified-file.ts'

export interface FileBlobService extends BlobService {
  /** `undefined` when the blob is not here as a whole; one whose bytes are wrong is `corrupt`. */
  openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined>
}

/**
 * Blobs as they are, each a file below `root` (docs/file-format.md): for stores of large files, which the kernel can then
 * read by itself, and for who wants to see contents without us. Beside a blob of several chunks lies the list of them,
 * and for each chunk where it is.
 *
 * Throws `precondition` for a folder of another kind: a cache would delete from it.
 */
export async function openFileBlobService(root: string): Promise<FileBlobService> {
  const objects = await openFileObjectStore(root)
  const found = await objects.get(VERSION_KEY)
  if (!found) await objects.put(VERSION_KEY, utf8(RAW_BLOBS_VERSION), { ifAbsent: true })
  else if (view(found).toString('latin1') !== RAW_BLOBS_VERSION)
    throw new StoreError(
      'precondition',
      `${root} holds something else than raw blobs (${JSON.stringify(view(found.subarray(0, 40)).toString('latin1'))}): name another folder`,
    )
  return new RawFileBlobService(objects)
}

class RawFileBlobService implements FileBlobService {
  readonly localChunks: LocalChunkSource
  readonly #objects: FileObjects
  readonly #verification = new FileVerification()

  constructor(objects: FileObjects) {
    this.#objects = objects
    const known = new KnownFiles({
      find: (digest) => this.#knownState(digest),
      findNow: (digest) => this.#knownStateNow(digest),
    })
    this.localChunks = { kind: 'raw', folder: objects.pathOf(BLOBS_PREFIX), known }
  }

  async has(digest: Digest, call?: Call): Promise<boolean> {
    if ((await this.#objects.head(blobKey(digest), call)) !== undefined) return true
    return (await this.#place(digest, call)) !== undefined
  }

  async chunks(digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> {
    const size = await this.#objects.head(blobKey(digest), call)
    if (size === undefined) return (await this.#place(digest, call)) && []
    const map = await this.#objects.get(mapKey(digest), call)
    if (!map) return []
    const list = decodeCacheMap(map)?.chunks
    if (list?.reduce((sum, chunk) => sum + chunk.size, 0) !== size)
      throw this.#corrupt(digest, 'its list of chunks is damaged')
    checkChunkList(digest, list, this.#objects.name)
    return list
  }

  async openRead(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    throwIfAborted(call?.signal)
    if (digest.equals(EMPTY_DIGEST)) return noPieces()
    const size = await this.#objects.head(blobKey(digest), call)
    if (size === undefined) return await this.#openPlace(digest, call)
    if (size > READ_BUFFER_BYTES) return this.#pieces(digest, call)
    const whole = await this.#objects.get(blobKey(digest), call)
    return whole && onePiece(whole, call)
  }

  openWrite(call?: Call): BlobWriter {
    return new FileBlobWriter(this.#objects, call)
  }

  async openLocalFile(digest: Digest, call?: Call): Promise<LocalFile | undefined> {
    const path = this.#objects.pathOf(blobKey(digest))
    const known = this.#verification.openKnown(path, digest)
    if (known) return known
    const file = await open(path, 'r').catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return undefined
      throw fileError(`reading ${path}`, error)
    })
    if (!file) return undefined
    try {
      const verdict = await this.#verification.verify(file, digest, call)
      if (verdict === 'wrong') throw this.#corrupt(digest, 'its bytes have another digest')
      const { size } = await file.stat()
      return { fd: file.fd, size, wasRead: verdict === 'read', [Symbol.asyncDispose]: () => file.close() }
    } catch (error) {
      await file.close()
      throw fileError(`reading ${path}`, error)
    }
  }

  async #knownState(digest: Digest): Promise<Uint8Array | undefined> {
    await using file = await open(this.#objects.pathOf(blobKey(digest)), 'r')
    return await this.#verification.known(file, digest)
  }

  #knownStateNow(digest: Digest): Uint8Array | undefined {
    const known = this.#verification.openKnown(this.#objects.pathOf(blobKey(digest)), digest)
    void known?.[Symbol.asyncDispose]()
    return known?.state
  }

  async #openPlace(digest: Digest, call?: Call): Promise<BlobStream | undefined> {
    const place = await this.#place(digest, call)
    if (!place) return undefined
    const { blob, start, size } = place
    const range = { start, end: start + size }
    const chunk = await this.#objects.get(blobKey(blob), { ...call, range })
    if (chunk && chunk.length !== size) throw this.#corrupt(blob, 'it is shorter than its chunks')
    return chunk && onePiece(chunk, call)
  }

  /** `undefined` also for a chunk of a blob that is not there (any more). */
  async #place(digest: Digest, call?: Call): Promise<ChunkPlace | undefined> {
    const bytes = await this.#objects.get(placeKey(digest), call)
    if (!bytes) return undefined
    const place = decodePlace(bytes)
    if (!place || place.size > CHUNK_BYTES_MAX)
      throw this.#corrupt(digest, 'where it lies as a chunk is damaged')
    return (await this.#objects.head(blobKey(place.blob), call)) === undefined ? undefined : place
  }

  async *#pieces(digest: Digest, call: Call | undefined): AsyncGenerator<Uint8Array> {
    const path = this.#objects.pathOf(blobKey(digest))
    try {
      await using file = await open(path, 'r')
      yield* filePieces(file, call)
    } catch (error) {
      throw fileError(`reading ${path}`, error)
    }
  }

  #corrupt(digest: Digest, why: string): StoreError {
    return new StoreError('corrupt', `blob ${digest} in ${this.#objects.name}: ${why}`)
  }
}

async function* noPieces(): BlobStream {}

async function* onePiece(piece: Uint8Array, call: Call | undefined): BlobStream {
  throwIfAborted(call?.signal)
  if (piece.length > 0) yield piece
}
