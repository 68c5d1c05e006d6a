import { describe, expect, it } from 'vitest'
import type { Call } from '../../../src/support/call.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { LingeringFlight } from '../../../src/support/lingering-flight.ts'

const left = () => new StoreError('cancelled', 'the caller left')

/** Work that ends when the test says so, or with its signal. */
function slow() {
  const { promise, resolve } = Promise.withResolvers<string>()
  let runs = 0
  const work = ({ signal }: Call) => {
    runs++
    return new Promise<string>((done, fail) => {
      promise.then(done)
      signal?.addEventListener('abort', () => fail(signal.reason))
    })
  }
  return { work, finish: resolve, runs: () => runs }
}

describe('a flight that goes on alone', () => {
  it('is there for who comes back', async () => {
    await using flights = new LingeringFlight<string, string>(4, 60_000)
    const { work, finish, runs } = slow()
    const controller = new AbortController()
    const first = flights.run('a', work, { signal: controller.signal })
    controller.abort(left())
    await expect(first).rejects.toThrow('the caller left')
    const second = flights.run('a', work)
    finish('done')
    expect(await second).toBe('done')
    expect(runs()).toBe(1)
  })

  it('begins anew when it has ended', async () => {
    await using flights = new LingeringFlight<string, number>(4, 60_000)
    let runs = 0
    const work = async () => ++runs
    expect(await flights.run('a', work)).toBe(1)
    expect(await flights.run('a', work)).toBe(2)
    await expect(flights.run('a', async () => Promise.reject(left()))).rejects.toThrow('the caller left')
    expect(await flights.run('a', work)).toBe(3)
  })

  it('ends when nobody has waited for it for long', async () => {
    await using flights = new LingeringFlight<string, string>(4, 1)
    const { work } = slow()
    const ended = Promise.withResolvers<unknown>()
    const controller = new AbortController()
    const noted = (call: Call) => work(call).catch((error) => Promise.reject(ended.resolve(error)))
    const first = flights.run('a', noted, { signal: controller.signal })
    controller.abort(left())
    await expect(first).rejects.toThrow()
    expect(await ended.promise).toMatchObject({ code: 'cancelled' })
  })

  it('is one of a bounded number', async () => {
    await using flights = new LingeringFlight<string, string>(1, 60_000)
    const { work, finish } = slow()
    const first = flights.run('a', work)
    await expect(flights.run('b', work)).rejects.toMatchObject({ code: 'exhausted' })
    const joined = flights.run('a', work)
    finish('done')
    expect(await Promise.all([first, joined])).toEqual(['done', 'done'])
  })

  it('ends with its service, for those who wait too, and is waited for', async () => {
    const flights = new LingeringFlight<string, string>(4, 60_000)
    let woundDown = false
    const work = async ({ signal }: Call) => {
      await new Promise((resolve) => signal?.addEventListener('abort', resolve))
      await new Promise(setImmediate)
      woundDown = true
      throw signal?.reason
    }
    const waiting = expect(flights.run('a', work)).rejects.toMatchObject({ code: 'cancelled' })
    await flights[Symbol.asyncDispose]()
    expect(woundDown).toBe(true)
    await waiting
    await expect(flights.run('b', work)).rejects.toMatchObject({ code: 'cancelled' })
  })
})
