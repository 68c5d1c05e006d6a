/**
 * Seeded runs: a few operations at the same time over a line that breaks in ways drawn from the seed. Every answer is
 * right or a typed error, nothing that exists is ever absent, and everything ends.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { TestServer } from '../support/grpc-server.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { FULL } from '../support/requirements.ts'
import { type ConnectionPlan, type Fault, HEALTHY, startTcpFaultProxy } from '../support/tcp-fault-proxy.ts'
import { type Outcome, openClient, outcome, SHORT_PATIENCE_MS } from './grpc-client.ts'
import { LARGE, type Operation, READS, startSampleServer, WRITES } from './sample-store.ts'

const SEEDS = FULL ? 2_000 : 150
/** `TVIX_STORE_TEST_SEED=17` runs that seed only, as a failure says. */
const ONLY = process.env['TVIX_STORE_TEST_SEED']
const SEEDS_AT_ONCE = 8
/** What a run may hold beyond what it began with: windows and messages of its connections, many times over. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024

let server: TestServer
beforeAll(async () => {
  server = await startSampleServer()
})
afterAll(() => server[Symbol.asyncDispose]())

/** Draws from a seed. */
class Dice {
  readonly #words: Uint32Array
  #next = 0

  constructor(seed: number) {
    this.#words = new Uint32Array(pseudoRandom(4 * 256, seed + 1).buffer)
  }

  below(limit: number): number {
    return this.#words[this.#next++ % this.#words.length]! % limit
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!
  }
}

/** Small offsets as likely as large ones: the beginning of a connection has most of the protocol in it. */
function drawOffset(dice: Dice): number {
  return dice.below(dice.pick([1, 10, 100, 1_000, 100_000, LARGE.length]))
}

function drawFault(dice: Dice): Fault {
  const at = drawOffset(dice)
  const draw: readonly (() => Fault)[] = [
    () => ({ kind: dice.pick(['reset', 'close', 'half-close'] as const), at }),
    () => ({ kind: 'black-hole', at }),
    () => ({ kind: 'flip', at, bit: dice.below(8) }),
    () => ({ kind: dice.pick(['omit', 'repeat'] as const), at, length: 1 + dice.below(64) }),
    () => ({ kind: 'delay', at, ms: dice.below(2 * SHORT_PATIENCE_MS) }),
    () => ({ kind: 'trickle', at, bytes: 1 + dice.below(256 * 1024), ms: dice.below(10) }),
    () => ({ kind: 'insert', at, bytes: pseudoRandom(1 + dice.below(64), dice.below(1_000)) }),
    () => ({ kind: 'none' }),
  ]
  return dice.pick(draw)()
}

/** What is changed on the way up asks for something else, which may rightly be absent. */
const ASKS_SOMETHING_ELSE: ReadonlySet<Fault['kind']> = new Set(['flip', 'omit', 'repeat', 'insert'])

interface Plan {
  readonly seed: number
  readonly connections: readonly ConnectionPlan[]
  readonly operations: readonly Operation[]
}

function drawPlan(seed: number): Plan {
  const dice = new Dice(seed)
  const connections = Array.from({ length: 1 + dice.below(6) }, (): ConnectionPlan => {
    const fault = drawFault(dice)
    const up = dice.below(4) === 0 && !ASKS_SOMETHING_ELSE.has(fault.kind)
    return { direction: up ? 'up' : 'down', fault }
  })
  const operations = Array.from({ length: 1 + dice.below(3) }, () =>
    dice.pick([...READS, ...READS, ...WRITES]),
  )
  return { seed, connections, operations }
}

async function runPlan({ connections, operations }: Plan): Promise<readonly Outcome<unknown>[]> {
  await using proxy = await startTcpFaultProxy(server.bound, connections, HEALTHY)
  using client = await openClient(proxy.address, { patienceMs: SHORT_PATIENCE_MS })
  return await Promise.all(operations.map((operation) => outcome(operation.run(client))))
}

function expectHonest(plan: Plan, outcomes: readonly Outcome<unknown>[]): void {
  for (const [i, { title, truth }] of plan.operations.entries()) {
    const found = outcomes[i]!
    if ('value' in found) expect(found.value, title).toEqual(truth)
    else expect(found.code, title).not.toBe('not-found')
  }
}

async function check(plan: Plan): Promise<'right' | 'error'> {
  try {
    const outcomes = await runPlan(plan)
    expectHonest(plan, outcomes)
    return outcomes.every((found) => 'value' in found) ? 'right' : 'error'
  } catch (error) {
    const told = JSON.stringify({ ...plan, operations: plan.operations.map(({ title }) => title) })
    throw new Error(`TVIX_STORE_TEST_SEED=${plan.seed}: ${String(error)}\n${told}`, { cause: error })
  }
}

test(`${SEEDS} seeds: right or a typed error, never absent, never for ever`, async () => {
  const seeds = ONLY ? [Number(ONLY)] : Array.from({ length: SEEDS }, (_, seed) => seed)
  const verdicts = { right: 0, error: 0 }
  const before = process.memoryUsage().rss
  let most = before
  const work = async () => {
    for (let seed = seeds.shift(); seed !== undefined; seed = seeds.shift()) {
      verdicts[await check(drawPlan(seed))]++
      most = Math.max(most, process.memoryUsage().rss)
    }
  }
  await Promise.all(Array.from({ length: SEEDS_AT_ONCE }, work))
  expect(most - before).toBeLessThan(MEMORY_BYTES_MAX)
  // Both happen, or the faults would be no faults, or too many.
  if (!ONLY) {
    expect(verdicts.right).toBeGreaterThan(SEEDS / 10)
    expect(verdicts.error).toBeGreaterThan(SEEDS / 10)
  }
}, 900_000)

test('negative control: what may not happen is noticed', () => {
  const plan = drawPlan(0)
  const right = plan.operations.map(({ truth }): Outcome<unknown> => ({ value: truth }))
  expect(() => expectHonest(plan, right)).not.toThrow()
  for (const wrong of [
    { value: undefined },
    { value: 'other bytes' },
    { code: 'not-found', message: '' },
  ] as const)
    expect(() => expectHonest(plan, [wrong, ...right.slice(1)])).toThrow()
})
