import { expect, test } from 'vitest'
import { begun } from '../../../src/support/begun.ts'
import { collect } from '../../support/collect.ts'

function traced(log: string[]): AsyncGenerator<number> {
  return (async function* () {
    try {
      log.push('begin')
      yield 1
      log.push('go on')
      yield 2
    } finally {
      log.push('end')
    }
  })()
}

test('the first item is fetched at once, the others when they are asked for', async () => {
  const log: string[] = []
  const stream = begun(traced(log))
  await null
  expect(log).toEqual(['begin'])
  expect(await collect(stream)).toEqual([1, 2])
  expect(log).toEqual(['begin', 'go on', 'end'])
})

test('a stream that nobody reads can be ended', async () => {
  const log: string[] = []
  await begun(traced(log)).return?.()
  expect(log).toEqual(['begin', 'end'])
})

test('what fails before anybody asks is told to who does', async () => {
  const stream = begun(
    // biome-ignore lint/correctness/useYield: it fails before
    (async function* (): AsyncGenerator<number> {
      throw new Error('nothing there')
    })(),
  )
  await new Promise(setImmediate)
  await expect(stream.next()).rejects.toThrow('nothing there')
})
