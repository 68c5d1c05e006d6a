import { describe, expect, it } from 'vitest'
import type { Call } from '../../../src/support/call.ts'
import { mapConcurrent, Semaphore, SingleFlight } from '../../../src/support/concurrency.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { collect } from '../../support/collect.ts'

const reason = new StoreError('cancelled', 'the test aborts')

/** Work that ends when its signal aborts, with the signal's reason, and not before. */
function untilAborted(call: Call): Promise<never> {
  return new Promise((_, reject) => {
    if (call.signal?.aborted) reject(call.signal.reason)
    call.signal?.addEventListener('abort', () => reject(call.signal?.reason))
  })
}

/** Lets every promise that can settle do so. */
const settle = () => new Promise(setImmediate)

describe('a semaphore', () => {
  it('grants at once what is free, and the rest in order', async () => {
    const semaphore = new Semaphore(2)
    const order: number[] = []
    const releases = await Promise.all([semaphore.acquire(), semaphore.acquire()])
    const waiting = [3, 4, 5].map((i) => semaphore.run(async () => void order.push(i)))
    await settle()
    expect(order).toEqual([])
    releases[0]!()
    await Promise.all(waiting)
    expect(order).toEqual([3, 4, 5])
  })

  it('never exceeds its capacity', async () => {
    const semaphore = new Semaphore(5)
    let [held, most] = [0, 0]
    const work = (weight: number) =>
      semaphore.run(async () => {
        held += weight
        most = Math.max(most, held)
        await settle()
        held -= weight
      }, weight)
    await Promise.all(Array.from({ length: 60 }, (_, i) => work(1 + (i % 4))))
    expect(most).toBe(5)
    expect(held).toBe(0)
  })

  it('lets an oversized user pass alone', async () => {
    const semaphore = new Semaphore(3)
    const release = await semaphore.acquire(100)
    const passed: string[] = []
    const waiting = semaphore.run(async () => void passed.push('second'))
    await settle()
    expect(passed).toEqual([])
    release()
    await waiting
    expect(passed).toEqual(['second'])
  })

  it('takes a second release for nothing', async () => {
    const semaphore = new Semaphore(1)
    const release = await semaphore.acquire()
    release()
    release()
    await semaphore.acquire()
    let third = false
    void semaphore.acquire().then(() => (third = true))
    await settle()
    expect(third).toBe(false)
  })

  it('gives its units back when the work fails', async () => {
    const semaphore = new Semaphore(1)
    await expect(semaphore.run(() => Promise.reject(reason))).rejects.toBe(reason)
    expect(await semaphore.run(async () => 'free')).toBe('free')
  })

  it('lets those behind a large waiter pass when that one gives up', async () => {
    const semaphore = new Semaphore(2)
    const release = await semaphore.acquire()
    const controller = new AbortController()
    const large = semaphore.acquire(2, controller.signal)
    const small = semaphore.acquire(1)
    controller.abort(reason)
    await expect(large).rejects.toBe(reason)
    ;(await small)()
    release()
    expect(await semaphore.run(async () => 'whole', 2)).toBe('whole')
  })

  it('refuses an aborted signal and leaks nothing', async () => {
    const semaphore = new Semaphore(1)
    await expect(semaphore.acquire(1, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(await semaphore.run(async () => 'free')).toBe('free')
  })
})

describe('a single flight', () => {
  it('does the work once for all who ask meanwhile, and again later', async () => {
    const flights = new SingleFlight<string, number>()
    let runs = 0
    const work = async () => {
      await settle()
      return ++runs
    }
    expect(await Promise.all([1, 2, 3].map(() => flights.run('a', work)))).toEqual([1, 1, 1])
    expect(await flights.run('a', work)).toBe(2)
    expect(flights.size).toBe(0)
  })

  it('keeps keys apart', async () => {
    const flights = new SingleFlight<string, string>()
    const run = (key: string) => flights.run(key, async () => key)
    expect(await Promise.all([run('a'), run('b')])).toEqual(['a', 'b'])
  })

  it('gives a failure to everybody and remembers nothing', async () => {
    const flights = new SingleFlight<string, string>()
    const failing = [1, 2].map(() => flights.run('a', () => Promise.reject(reason)))
    for (const result of failing) await expect(result).rejects.toBe(reason)
    expect(await flights.run('a', async () => 'fine')).toBe('fine')
  })

  it('goes on when one of two leaves', async () => {
    const flights = new SingleFlight<string, string>()
    const landing = Promise.withResolvers<string>()
    const controller = new AbortController()
    const first = flights.run('a', () => landing.promise, { signal: controller.signal })
    const second = flights.run('a', () => landing.promise)
    controller.abort(reason)
    await expect(first).rejects.toBe(reason)
    landing.resolve('landed')
    expect(await second).toBe('landed')
  })

  it('is aborted when everybody left, and starts afresh for the next', async () => {
    const flights = new SingleFlight<string, string>()
    let aborted: AbortSignal | undefined
    const controller = new AbortController()
    const work = (call: Call) => {
      aborted = call.signal
      return untilAborted(call)
    }
    const leaving = flights.run('a', work, { signal: controller.signal })
    controller.abort(reason)
    await expect(leaving).rejects.toBe(reason)
    expect(aborted?.aborted).toBe(true)
    expect(flights.size).toBe(0)
    expect(await flights.run('a', async () => 'fresh')).toBe('fresh')
  })

  it('rejects, and does not throw, for an aborted signal and for work that throws', async () => {
    const flights = new SingleFlight<string, string>()
    const late = flights.run('a', async () => 'never', { signal: AbortSignal.abort(reason) })
    await expect(late).rejects.toBe(reason)
    const throwing = flights.run('a', () => {
      throw reason
    })
    await expect(throwing).rejects.toBe(reason)
    expect(flights.size).toBe(0)
  })
})

describe('mapConcurrent', () => {
  it('yields in the order of the items, whatever ends first', async () => {
    const gates = [1, 2, 3].map(() => Promise.withResolvers<void>())
    const results = collect(mapConcurrent([0, 1, 2], 3, async (i) => gates[i]!.promise.then(() => i)))
    for (const gate of gates.toReversed()) {
      gate.resolve()
      await settle()
    }
    expect(await results).toEqual([0, 1, 2])
  })

  it('works on so many items at a time and no more', async () => {
    let [running, most] = [0, 0]
    const work = async (i: number) => {
      most = Math.max(most, ++running)
      await settle()
      running--
      return i
    }
    const items = Array.from({ length: 50 }, (_, i) => i)
    expect(await collect(mapConcurrent(items, 7, work))).toEqual(items)
    expect(most).toBe(7)
  })

  it('ends with the first failure though an earlier item would wait for ever', async () => {
    const work = (i: number, call: Call) => (i === 0 ? untilAborted(call) : Promise.reject(reason))
    await expect(collect(mapConcurrent([0, 1], 5, work))).rejects.toBe(reason)
  })

  it('awaits the rest before it throws, and takes no more items', async () => {
    let finished = 0
    const started: number[] = []
    const work = async (i: number) => {
      started.push(i)
      if (i === 1) throw reason
      await settle()
      return ++finished
    }
    await expect(collect(mapConcurrent([0, 1, 2, 3, 4, 5, 6], 3, work))).rejects.toBe(reason)
    expect(finished).toBe(started.length - 1)
    expect(started.length).toBeLessThan(7)
  })

  it('aborts and awaits what runs when the reader leaves, and closes the source', async () => {
    let [closed, aborted] = [false, 0]
    async function* items() {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        closed = true
      }
    }
    const work = (i: number, call: Call) =>
      i === 0 ? Promise.resolve(i) : untilAborted(call).finally(() => aborted++)
    for await (const _ of mapConcurrent(items(), 4, work)) break
    expect(closed).toBe(true)
    expect(aborted).toBe(3)
  })

  it('ends with the reason of an abort, before or in the middle', async () => {
    const before = mapConcurrent([], 2, untilAborted, { signal: AbortSignal.abort(reason) })
    await expect(collect(before)).rejects.toBe(reason)
    const controller = new AbortController()
    const work = (_: number, call: Call) => untilAborted(call)
    const during = collect(mapConcurrent([1, 2, 3], 2, work, { signal: controller.signal }))
    await settle()
    controller.abort(reason)
    await expect(during).rejects.toBe(reason)
  })

  it('passes a failing source on', async () => {
    async function* items() {
      yield 1
      throw reason
    }
    await expect(collect(mapConcurrent(items(), 2, async (i) => i))).rejects.toBe(reason)
  })
})
