import { setImmediate as nextTurn } from 'node:timers/promises'
import type { PathInfo } from '../../../model/nix/path-info.ts'
import { type Call, throwIfAborted, withDeadline } from '../../../support/call.ts'
import { StoreError } from '../../../support/errors.ts'
import {
  PAGES_INDEX_BYTES_MAX,
  PAGES_INDEX_MS_MAX,
  PAGES_INDEX_PATHS_MAX,
  PAGES_INDEX_REST,
  PAGES_INDEX_REST_MS_MIN,
  PAGES_INDEX_WAIT_MS,
  PAGES_TURN_MS_MAX,
} from '../../../support/limits.ts'
import { Turn } from '../../../support/turn.ts'
import { type NamedPath, PackedNames } from './packed-names.ts'

/** What is known of the paths of the store at some moment. */
export interface Snapshot {
  readonly names: PackedNames
  /**
   * `reading`: the first reading goes on, and there are more. `cut`: there are more than are kept. `failed`: the last
   * reading ended with `failure`; what is known comes from the one before.
   */
  readonly state: 'complete' | 'reading' | 'cut' | 'failed'
  readonly failure?: StoreError
}

/** Paths that are read before they are sorted: that takes a few milliseconds. */
const RUN_PATHS = 4_096

/**
 * The names of all paths, read in the background. A listing is a stream over everything, which nobody can wait for on
 * every request; so it is read when somebody asks and what is known has become old, and whoever asks waits a moment
 * for it, which is enough for a small store. A reading that was expensive stays good for longer.
 */
export class PathIndex {
  readonly #list: (call: Call) => AsyncIterable<PathInfo>
  readonly #controller = new AbortController()
  readonly #turn = new Turn(PAGES_TURN_MS_MAX)
  readonly #pathsMax: number
  #known: Snapshot = { names: PackedNames.EMPTY, state: 'reading' }
  #reading: Promise<void> | undefined
  /** Until when what is known is new enough, in milliseconds of `performance.now`. */
  #goodUntil = 0

  constructor(
    list: (call: Call) => AsyncIterable<PathInfo>,
    { pathsMax = PAGES_INDEX_PATHS_MAX }: { pathsMax?: number } = {},
  ) {
    this.#list = list
    this.#pathsMax = pathsMax
  }

  /** For searches: shared, so that all work on the names takes one turn's time together. */
  get turn(): Turn {
    return this.#turn
  }

  /** What is known now, or in a moment. */
  async snapshot(call?: Call): Promise<Snapshot> {
    if (performance.now() >= this.#goodUntil) this.#reading ??= this.#read()
    if (this.#reading) await withinMoment(this.#reading, call)
    return this.#known
  }

  /** Waits until a reading that goes on has ended. */
  async settled(): Promise<void> {
    await this.#reading
  }

  close(): void {
    this.#controller.abort(new StoreError('cancelled', 'the server stops'))
  }

  async #read(): Promise<void> {
    const began = performance.now()
    try {
      using call = withDeadline(this.#controller, PAGES_INDEX_MS_MAX, 'listing all paths')
      this.#known = await this.#readAll(call)
    } catch (error) {
      const failure = StoreError.from(error)
      this.#known = { names: this.#known.names, state: 'failed', failure }
    }
    const took = performance.now() - began
    this.#goodUntil = performance.now() + Math.max(PAGES_INDEX_REST_MS_MIN, PAGES_INDEX_REST * took)
    this.#reading = undefined
  }

  async #readAll(call: Call): Promise<Snapshot> {
    const isFirst = this.#known.state === 'reading'
    const merger = new RunMerger(this.#turn, call)
    let run: NamedPath[] = []
    for await (const { storePath, narSize } of this.#list(call)) {
      if (merger.length + run.length >= this.#pathsMax || merger.textBytes >= PAGES_INDEX_BYTES_MAX) {
        await merger.add(PackedNames.of(run))
        return { names: await merger.finish(), state: 'cut' }
      }
      run.push({ storePath, narSize: Number(narSize) })
      if (run.length === RUN_PATHS) {
        await merger.add(PackedNames.of(run))
        run = []
        if (isFirst) this.#known = { names: merger.largest, state: 'reading' }
      }
      if (this.#turn.isLong) {
        await nextTurn()
        throwIfAborted(call.signal)
      }
    }
    await merger.add(PackedNames.of(run))
    return { names: await merger.finish(), state: 'complete' }
  }
}

/** Merges runs of about equal size, so that each row is copied only as often as the number of runs doubles. */
class RunMerger {
  readonly #turn: Turn
  readonly #call: Call
  /** Each about twice as long as the next, at least. */
  readonly #runs: PackedNames[] = []
  length = 0
  textBytes = 0

  constructor(turn: Turn, call: Call) {
    this.#turn = turn
    this.#call = call
  }

  get largest(): PackedNames {
    return this.#runs[0] ?? PackedNames.EMPTY
  }

  async add(run: PackedNames): Promise<void> {
    this.length += run.length
    this.textBytes += run.textBytes
    this.#runs.push(run)
    while (this.#runs.length > 1 && this.#runs.at(-2)!.length < 2 * this.#runs.at(-1)!.length)
      await this.#mergeLast()
  }

  async finish(): Promise<PackedNames> {
    while (this.#runs.length > 1) await this.#mergeLast()
    return this.largest
  }

  async #mergeLast(): Promise<void> {
    const [a, b] = this.#runs.splice(-2) as [PackedNames, PackedNames]
    this.#runs.push(await PackedNames.merge(a, b, this.#turn, this.#call))
  }
}

async function withinMoment(work: Promise<void>, call?: Call): Promise<void> {
  throwIfAborted(call?.signal)
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, PAGES_INDEX_WAIT_MS)
  await Promise.race([work, promise])
  clearTimeout(timer)
}
