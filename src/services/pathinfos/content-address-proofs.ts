import { LRUCache } from 'lru-cache'
import { Digest } from '../../model/castore/digest.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import { encodePathInfo } from '../../model/wire/path-info.ts'
import type { Call } from '../../support/call.ts'
import { CONTENT_PROOF_MS_MAX, CONTENT_PROOFS_AT_ONCE_MAX, CONTENT_PROOFS_MAX } from '../../support/limits.ts'
import { LingeringFlight } from '../../support/lingering-flight.ts'

/** Reads the contents of a path; throws `corrupt` when its content address is that of others. */
export type ProveContentAddress = (pathInfo: PathInfo, call: Call) => Promise<void>

/**
 * Remembers of which paths the contents were proven to be those of their content address, which takes reading all of
 * them. A proof that takes longer than a caller waits goes on without them.
 */
export class ContentAddressProofs implements AsyncDisposable {
  readonly #prove: ProveContentAddress
  readonly #proven = new LRUCache<string, true>({ max: CONTENT_PROOFS_MAX })
  readonly #running = new LingeringFlight<string, void>(CONTENT_PROOFS_AT_ONCE_MAX, CONTENT_PROOF_MS_MAX)

  constructor(prove: ProveContentAddress) {
    this.#prove = prove
  }

  /** Without reading anything. */
  has(pathInfo: PathInfo): boolean {
    return this.#proven.has(keyOf(pathInfo))
  }

  async check(pathInfo: PathInfo, call?: Call): Promise<void> {
    const key = keyOf(pathInfo)
    if (this.#proven.has(key)) return
    await this.#running.run(key, (own) => this.#prove(pathInfo, own), call)
    this.#proven.set(key, true)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running[Symbol.asyncDispose]()
  }
}

/** Everything that a proof is about, the node first of all. */
function keyOf(pathInfo: PathInfo): string {
  return Digest.of(encodePathInfo(pathInfo)).key
}
