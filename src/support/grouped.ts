interface Waiting<T, R> {
  readonly item: T
  readonly done: PromiseWithResolvers<R>
}

/**
 * Does work whose cost is by the time and not by the item: one round at a time, and what comes meanwhile forms the next. The
 * failure of a round is that of all its items.
 */
export class Grouped<T, R> {
  readonly #work: (items: readonly T[]) => Promise<readonly R[]>
  #waiting: Waiting<T, R>[] = []
  #running: Promise<void> | undefined

  /** `work`: the results, in the order of the items. */
  constructor(work: (items: readonly T[]) => Promise<readonly R[]>) {
    this.#work = work
  }

  add(item: T): Promise<R> {
    const done = Promise.withResolvers<R>()
    this.#waiting.push({ item, done })
    this.#running ??= this.#run()
    return done.promise
  }

  /** Resolves when nothing is left to do. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const round = this.#waiting
      this.#waiting = []
      try {
        const results = await this.#work(round.map(({ item }) => item))
        for (const [i, { done }] of round.entries()) done.resolve(results[i]!)
      } catch (error) {
        for (const { done } of round) done.reject(error)
      }
    }
    this.#running = undefined
  }
}
