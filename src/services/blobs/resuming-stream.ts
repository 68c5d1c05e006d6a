import type { Digest } from '../../model/castore/digest.ts'
import { StoreError } from '../../support/errors.ts'
import type { BlobStream, ChunkMeta } from './interface.ts'

interface Pieces extends AsyncIterator<Uint8Array> {
  /** What `next` would give at once; `undefined` when it has to wait, or to throw. */
  ready?(): Uint8Array | undefined
}

/** Where the bytes come from; each function tries again by itself while the peer is unavailable. */
export interface ResumableSource {
  /** Address or name, for messages. */
  readonly name: string
  read(digest: Digest): Promise<Pieces | undefined>
  /** A chunk list that was checked; `undefined` when the blob is absent. */
  chunks(digest: Digest): Promise<readonly ChunkMeta[] | undefined>
  /** How long a read may yield nothing but empty pieces, in milliseconds. */
  readonly patienceMs: number
  /** How often a blob may break off and go on. */
  readonly resumptions: number
}

/** A blob of which the reading goes on where it broke off. `undefined` when the blob is absent. */
export async function openResuming(source: ResumableSource, digest: Digest): Promise<BlobStream | undefined> {
  const pieces = await source.read(digest)
  if (!pieces) return undefined
  const stream = new ResumingStream(source, digest, pieces)
  // No generator: one that was never started would not cancel the call when it is returned.
  return { [Symbol.asyncIterator]: () => stream }
}

/**
 * Hands on the bytes of one read after the other. The first one is of the whole blob. When it breaks off, the peer
 * is asked how the blob divides into chunks, and what is missing is read chunk by chunk; where there are no chunks
 * the blob is read again and what was delivered is dropped. Nothing is verified here: whoever stands above compares
 * the digest of everything, over all seams.
 */
class ResumingStream implements AsyncIterator<Uint8Array> {
  readonly #source: ResumableSource
  readonly #digest: Digest
  #pieces: Pieces
  #delivered = 0
  /** Bytes of the current read that were delivered by an earlier one. */
  #skip = 0
  /** Asked for after the first break; empty when the blob can be had as a whole only. */
  #chunks: readonly ChunkMeta[] | undefined
  /** Which chunk is being read; `undefined` while the whole blob is. */
  #chunk: Place | undefined
  #resumptions: number
  #left = false

  constructor(source: ResumableSource, digest: Digest, pieces: Pieces) {
    this.#source = source
    this.#digest = digest
    this.#pieces = pieces
    this.#resumptions = source.resumptions
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    // Most pieces are 16 KiB, of a message that is there: a promise for each in each layer is a tenth of what receiving costs.
    const piece = this.#skip === 0 && !this.#chunk ? this.#pieces.ready?.() : undefined
    if (!piece || piece.length === 0) return this.#next()
    this.#delivered += piece.length
    return Promise.resolve({ done: false, value: piece })
  }

  async #next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      const piece = await this.#receive()
      if (!piece) {
        if (await this.#endsHere()) return { done: true, value: undefined }
        continue
      }
      const fresh = piece.subarray(Math.min(this.#skip, piece.length))
      this.#skip -= piece.length - fresh.length
      if (fresh.length === 0) continue
      this.#delivered += fresh.length
      if (this.#chunk && this.#delivered > this.#chunk.end)
        throw await this.#refuse('is longer than its list says')
      return { done: false, value: fresh }
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#left = true
    await this.#pieces.return?.()
    return { done: true, value: undefined }
  }

  /** The next piece that is not empty, `undefined` at the end; over all breaks. */
  async #receive(): Promise<Uint8Array | undefined> {
    const started = performance.now()
    for (;;) {
      try {
        const piece = await this.#pieces.next()
        if (piece.done) return undefined
        if (piece.value.length > 0) return piece.value
      } catch (error) {
        if (!(await this.#resume(StoreError.from(error)))) return undefined
        continue
      }
      if (performance.now() - started > this.#source.patienceMs) throw await this.#stalled()
    }
  }

  /** Whether the end of the current read is the end of the blob; if not, the next read is underway. */
  async #endsHere(): Promise<boolean> {
    if (this.#skip > 0) throw await this.#refuse('is shorter than it was before')
    if (!this.#chunk) return true
    if (this.#delivered < this.#chunk.end) throw await this.#refuse('is shorter than its list says')
    return !(await this.#seek())
  }

  /** Continues after a break. False when everything was delivered already; throws when it cannot go on. */
  async #resume(failure: StoreError): Promise<boolean> {
    if (failure.code !== 'unavailable' || this.#left || this.#resumptions === 0) throw failure
    this.#resumptions--
    this.#chunks ??= await this.#list(failure)
    return this.#seek(failure)
  }

  async #list(failure: StoreError): Promise<readonly ChunkMeta[]> {
    if (this.#delivered === 0) return [] // one read instead of a question and several
    try {
      const chunks = await this.#source.chunks(this.#digest)
      if (!chunks) throw failure // it was there a moment ago
      return chunks.length > 1 ? chunks : []
    } catch (error) {
      if (StoreError.from(error).code === 'unimplemented') return []
      throw error
    }
  }

  /** Starts the read that the next byte comes from. False when there is no such byte. */
  async #seek(failure?: StoreError): Promise<boolean> {
    const chunks = this.#chunks!
    if (chunks.length > 0) {
      const place = locate(chunks, this.#delivered, this.#chunk)
      if (!place) return false
      const pieces = await this.#source.read(chunks[place.index]!.digest)
      if (pieces) return this.#continueWith(pieces, place, this.#delivered - place.start)
      // It lists chunks that it does not serve.
      this.#chunks = []
    }
    const pieces = await this.#source.read(this.#digest)
    if (!pieces) throw failure ?? (await this.#refuse('has vanished while it was read'))
    return this.#continueWith(pieces, undefined, this.#delivered)
  }

  async #continueWith(pieces: Pieces, chunk: Place | undefined, skip: number): Promise<true> {
    this.#pieces = pieces
    this.#chunk = chunk
    this.#skip = skip
    // The reader left while this was being opened; nobody else would cancel it.
    if (this.#left) await pieces.return?.()
    return true
  }

  async #refuse(fault: string): Promise<StoreError> {
    await this.return()
    const part = this.#chunk ? `chunk ${this.#chunk.index} of blob ${this.#digest}` : `blob ${this.#digest}`
    return new StoreError('corrupt', `${part} from ${this.#source.name} ${fault}`)
  }

  async #stalled(): Promise<StoreError> {
    await this.return()
    const seconds = this.#source.patienceMs / 1000
    const what = `blob ${this.#digest} from ${this.#source.name}`
    return new StoreError('deadline', `${what}: nothing but empty messages for ${seconds} s`)
  }
}

/** A chunk and which bytes of the blob it holds. */
interface Place {
  readonly index: number
  readonly start: number
  readonly end: number
}

/** The chunk that holds the byte at `offset`, at or after `from`; `undefined` behind the last one. */
function locate(chunks: readonly ChunkMeta[], offset: number, from: Place | undefined): Place | undefined {
  let start = from?.start ?? 0
  for (let index = from?.index ?? 0; index < chunks.length; index++) {
    const end = start + chunks[index]!.size
    if (offset < end) return { index, start, end }
    start = end
  }
  return undefined
}
