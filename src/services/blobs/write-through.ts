import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { Source, SourceSet } from '../source-set.ts'
import type { BlobService, BlobWriter } from './interface.ts'

/**
 * Writes to `far`, and to `near` as well: a write counts when far has it, whatever happened to the copy nearby.
 * Reads are those of `cache`, which stands over the same two.
 */
export function writeThroughBlobService(
  cache: BlobService,
  near: Source<BlobService>,
  far: Source<BlobService>,
  faults: Pick<SourceSet<BlobService>, 'failed'>,
): BlobService {
  return {
    has: (digest, call) => cache.has(digest, call),
    chunks: (digest, call) => cache.chunks(digest, call),
    openRead: (digest, call) => cache.openRead(digest, call),
    openWrite(call) {
      const nearFailed = (error: unknown) => faults.failed(near, error)
      return new WriteThrough(
        far.service.openWrite(call),
        openNear(near.service, call, nearFailed),
        nearFailed,
      )
    },
  }
}

/** `undefined` when it takes no writes, or none now. */
function openNear(
  near: BlobService,
  call: Call | undefined,
  failed: (error: unknown) => void,
): BlobWriter | undefined {
  try {
    return near.openWrite(call)
  } catch (error) {
    failed(error)
    return undefined
  }
}

class WriteThrough implements BlobWriter {
  readonly #far: BlobWriter
  #near: BlobWriter | undefined
  readonly #nearFailed: (error: unknown) => void
  #closed: Promise<Digest> | undefined

  constructor(far: BlobWriter, near: BlobWriter | undefined, nearFailed: (error: unknown) => void) {
    this.#far = far
    this.#near = near
    this.#nearFailed = nearFailed
  }

  async write(bytes: Uint8Array): Promise<void> {
    await Promise.all([this.#far.write(bytes), this.#onNear((near) => near.write(bytes))])
  }

  close(): Promise<Digest> {
    this.#closed ??= this.#finish()
    return this.#closed
  }

  async abort(): Promise<void> {
    await Promise.all([this.#far.abort(), this.#near?.abort()])
  }

  async #finish(): Promise<Digest> {
    const digest = await this.#far.close()
    await this.#onNear(async (near) => {
      const copy = await near.close()
      if (!copy.equals(digest)) throw new StoreError('corrupt', `stored blob ${digest} as ${copy}`)
    })
    return digest
  }

  async #onNear(work: (near: BlobWriter) => Promise<void>): Promise<void> {
    const near = this.#near
    if (!near) return
    try {
      await work(near)
    } catch (error) {
      this.#near = undefined
      this.#nearFailed(error)
      await near.abort().catch(() => {})
    }
  }
}
