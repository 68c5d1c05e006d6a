import { LATENCY_SAMPLES, LATENCY_SAMPLES_MIN } from '../support/limits.ts'

/** How long the latest answers of a source took. */
export class Latencies {
  readonly #samples = new Float64Array(LATENCY_SAMPLES)
  #count = 0
  #percentile: number | undefined

  add(ms: number): void {
    this.#samples[this.#count++ % LATENCY_SAMPLES] = ms
    this.#percentile = undefined
  }

  /** Milliseconds that 95 % of them took at most; `undefined` while there are too few to tell. */
  percentile95(): number | undefined {
    if (this.#count < LATENCY_SAMPLES_MIN) return undefined
    this.#percentile ??= this.#compute()
    return this.#percentile
  }

  #compute(): number {
    const sorted = this.#samples.slice(0, Math.min(this.#count, LATENCY_SAMPLES)).sort()
    return sorted[Math.ceil(sorted.length * 0.95) - 1]!
  }
}
