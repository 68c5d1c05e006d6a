import { MOUNT_FAR_MS } from '../../support/limits.ts'

/** Fetches that are remembered. */
const FETCHES_REMEMBERED = 16

/** How far away the source of contents is, by what fetching took: in time, and in what comes meanwhile. */
export class SourceDistance {
  readonly #fetches: { readonly bytes: number; readonly ms: number }[] = []

  fetched(bytes: number, ms: number): void {
    this.#fetches.push({ bytes, ms })
    if (this.#fetches.length > FETCHES_REMEMBERED) this.#fetches.shift()
  }

  /** Whether even the fastest fetch took long. The others tell how busy we are. */
  get isFar(): boolean {
    return this.#fetches.length > 0 && this.#latencyMs >= MOUNT_FAR_MS
  }

  /** What could have come in the time of another round trip: a guess of no more bytes costs less than asking twice. */
  get bytesPerRoundTrip(): number {
    if (this.#fetches.length === 0) return 0
    const latency = this.#latencyMs
    const rates = this.#fetches.map(({ bytes, ms }) => bytes / Math.max(1, ms - latency))
    return Math.max(...rates) * latency
  }

  get #latencyMs(): number {
    return Math.min(...this.#fetches.map(({ ms }) => ms))
  }
}
