import { expect, it } from 'vitest'
import { Grouped } from '../../../src/support/grouped.ts'

it('does one round at a time, and what comes meanwhile in the next', async () => {
  const rounds: number[][] = []
  const gates: PromiseWithResolvers<void>[] = []
  const grouped = new Grouped<number, string>(async (items) => {
    rounds.push([...items])
    const gate = Promise.withResolvers<void>()
    gates.push(gate)
    await gate.promise
    return items.map(String)
  })
  const first = grouped.add(1)
  const others = [grouped.add(2), grouped.add(3)]
  expect(rounds).toEqual([[1]])
  gates[0]!.resolve()
  expect(await first).toBe('1')
  await new Promise(setImmediate)
  expect(rounds).toEqual([[1], [2, 3]])
  gates[1]!.resolve()
  expect(await Promise.all(others)).toEqual(['2', '3'])
  await grouped.idle()
})

it('tells all of a round of its failure, and goes on', async () => {
  let isBroken = true
  const grouped = new Grouped<number, number>(async (items) => {
    await new Promise(setImmediate)
    if (isBroken) throw new Error('broken')
    return items
  })
  const first = Promise.allSettled([grouped.add(1), grouped.add(2)])
  await grouped.idle()
  isBroken = false
  expect((await first).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await grouped.add(3)).toBe(3)
  await grouped.idle()
})
