import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import { StoreError, withContext } from '../../support/errors.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { BlobService, BlobStream, BlobWriter, ChunkMeta } from './interface.ts'
import { openResuming } from './resuming-stream.ts'

/**
 * Blobs from the first of several sources that has them; nothing can be written. A source that fails on the way is
 * replaced by the next, which goes on at the chunk where the former stopped. The bytes of a blob may then come from
 * several sources: verify above this layer, so that the digest covers the seams.
 */
export function priorityBlobService(set: SourceSet<BlobService>): BlobService {
  return {
    async has(digest: Digest, call?: Call): Promise<boolean> {
      const found = await set.ask(call, async (each, inner) => (await each.has(digest, inner)) || undefined)
      return found !== undefined
    },

    chunks: async (digest: Digest, call?: Call): Promise<readonly ChunkMeta[] | undefined> =>
      (await set.ask(call, (each, inner) => each.chunks(digest, inner)))?.value,

    openRead: (digest: Digest, call?: Call) => openFailingOver(set, digest, call),

    openWrite(): BlobWriter {
      throw new StoreError('unimplemented', 'these blobs can only be read: a list of sources takes no writes')
    },
  }
}

function openFailingOver(
  set: SourceSet<BlobService>,
  digest: Digest,
  call: Call | undefined,
): Promise<BlobStream | undefined> {
  /** Sources that broke off while they sent this blob; they are not asked again for it. */
  const broken = new Set<Source<BlobService>>()
  /** Why the last of them did: who has it all the same is gone, so that others lack it is no absence. */
  let lastFailure: StoreError | undefined
  const read = async (part: Digest) => {
    const found = await set.open(call, (each, inner) => each.openRead(part, inner), broken)
    if (!found) {
      if (lastFailure) throw lastFailure
      return undefined
    }
    const { value, from, release } = found
    return new WatchedPieces(value, set.timeoutMs, release, (error) => {
      if (call?.signal?.aborted) return StoreError.from(call.signal.reason)
      broken.add(from)
      set.failed(from, error)
      lastFailure = withContext(from.name, error)
      // The code that says: somebody else may have it.
      const another = broken.size < set.sources.length
      return another ? new StoreError('unavailable', lastFailure.message, { cause: error }) : lastFailure
    })
  }
  const chunks = async (whole: Digest) => {
    const found = await set.open(call, (each, inner) => each.chunks(whole, inner), broken)
    found?.release()
    if (!found && lastFailure) throw lastFailure
    return found?.value
  }
  const name = set.sources.map((each) => each.name).join(', ')
  return openResuming(
    { name, read, chunks, patienceMs: set.timeoutMs, resumptions: set.sources.length - 1 },
    digest,
  )
}

/** The pieces of one source, each of which must come in time. */
class WatchedPieces implements AsyncIterator<Uint8Array> {
  readonly #pieces: AsyncIterator<Uint8Array>
  readonly #timeoutMs: number
  readonly #release: () => void
  readonly #blame: (error: unknown) => StoreError

  constructor(
    stream: BlobStream,
    timeoutMs: number,
    release: () => void,
    blame: (error: unknown) => StoreError,
  ) {
    this.#pieces = stream[Symbol.asyncIterator]()
    this.#timeoutMs = timeoutMs
    this.#release = release
    this.#blame = blame
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new StoreError('deadline', `nothing came for ${this.#timeoutMs / 1000} s`)),
      this.#timeoutMs,
    )
    try {
      const piece = await Promise.race([this.#pieces.next(), late.promise])
      if (piece.done) this.#release()
      return piece
    } catch (error) {
      // Not awaited: what hangs may hang in there, too.
      this.#pieces.return?.().catch(() => {})
      this.#release()
      throw this.#blame(error)
    } finally {
      clearTimeout(timer)
    }
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    this.#release()
    await this.#pieces.return?.()
    return { done: true, value: undefined }
  }
}
