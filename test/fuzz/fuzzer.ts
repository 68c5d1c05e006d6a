import { mutate, Random } from './mutate.ts'
import type { Target } from './target.ts'

/** Larger inputs find nothing that smaller ones do not, and fewer of them are tried in a second. */
export const INPUT_BYTES_MAX = 16_384
/** Bounds the corpus of a target whose words tell too much. */
const CORPUS_INPUTS_MAX = 1_000

export interface Crash {
  readonly input: Uint8Array
  readonly error: unknown
}

/** Tries mutations of what it knows, and keeps those that fare in a new way. */
export class Fuzzer {
  readonly #target: Target
  readonly #random: Random
  readonly #before: (input: Uint8Array) => void
  readonly #corpus: Uint8Array[] = []
  /** What there was before this run. */
  readonly #untried: Uint8Array[]
  /** Where in the corpus the smallest input of an outcome is. */
  readonly #outcomes = new Map<string, number>()
  executions = 0

  /** `before` sees each input before it is tried, so that one that hangs is known. */
  constructor(
    target: Target,
    seed: number,
    corpus: readonly Uint8Array[],
    before: (input: Uint8Array) => void = () => {},
  ) {
    this.#target = target
    this.#random = new Random(seed)
    this.#before = before
    this.#untried = [...target.seeds(), ...corpus]
  }

  get corpus(): readonly Uint8Array[] {
    return this.#corpus
  }

  /** Tries `count` inputs; the first that breaks a promise ends it. */
  async run(count: number): Promise<Crash | undefined> {
    for (const input of this.#untried.splice(0)) await this.#try(input)
    for (let i = 0; i < count; i++) {
      const input = mutate(this.#random.pick(this.#corpus), this.#random, {
        words: this.#target.words,
        corpus: this.#corpus,
        maxBytes: INPUT_BYTES_MAX,
      })
      try {
        // Most targets answer at once, some hundred thousand times a second.
        const tried = this.#try(input)
        if (tried) await tried
      } catch (error) {
        return { input, error }
      }
    }
    return undefined
  }

  #try(input: Uint8Array): Promise<void> | undefined {
    this.#before(input)
    this.executions++
    const outcome = this.#target.run(input)
    if (typeof outcome === 'string') this.#learn(input, outcome)
    else return outcome.then((words) => this.#learn(input, words))
    return undefined
  }

  #learn(input: Uint8Array, outcome: string): void {
    const known = this.#outcomes.get(outcome)
    if (known === undefined) {
      if (this.#corpus.length >= CORPUS_INPUTS_MAX) return
      this.#outcomes.set(outcome, this.#corpus.length)
      this.#corpus.push(input)
    } else if (input.length < this.#corpus[known]!.length) {
      this.#corpus[known] = input
    }
  }
}
