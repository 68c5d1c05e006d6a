import { describe, expect, test } from 'vitest'
import { loadCorpus } from './corpus.ts'
import { Fuzzer } from './fuzzer.ts'
import { parseInPieces } from './pieces.ts'
import { fuzz } from './run.ts'
import { TARGETS } from './targets.ts'

describe.each(Object.entries(TARGETS))('%s', (name, target) => {
  test('the corpus breaks no promise', async () => {
    const corpus = loadCorpus(name)
    expect(corpus.length).toBeGreaterThan(3)
    for (const input of corpus) expect(typeof (await target.run(input))).toBe('string')
  })

  test('nor do the first thousand mutations of it', async () => {
    const crash = await new Fuzzer(target, 1, loadCorpus(name)).run(1000)
    if (crash) throw new Error(`input ${Buffer.from(crash.input).toString('base64')}`, { cause: crash.error })
  })
})

test('negative control: a parser that forgets something at a cut is found', () => {
  const careless = () => ({
    *push(piece: Uint8Array) {
      yield { type: 'number', value: piece.reduce((sum, byte) => sum + byte, 0) % 256 }
    },
    finish() {},
  })
  expect(() => parseInPieces(Uint8Array.of(1, 2, 3), 2, careless)).toThrow('broken promise')
  expect(() => parseInPieces(Uint8Array.of(1), 2, careless)).not.toThrow()
})

describe('negative control: what is planted is found', () => {
  const planted = new URL('planted.ts', import.meta.url).href
  const seed = 7

  test.each([
    ['crash', 'RangeError: planted'],
    ['wrong', 'broken promise: planted'],
  ])('%s', async (target, text) => {
    const result = await fuzz(target, { targetModule: planted, seconds: 20, seed, corpus: [] })
    expect(result.failure?.error).toContain(text)
    expect(Buffer.from(result.failure!.input).includes('m')).toBe(true)
  })

  test('a hang', async () => {
    const result = await fuzz('hang', { targetModule: planted, seconds: 20, seed, corpus: [], hangMs: 1000 })
    expect(result.failure?.error).toBe('it hangs')
    expect(Buffer.from(result.failure!.input).includes('m')).toBe(true)
  })

  test('memory without end', async () => {
    const result = await fuzz('memory', { targetModule: planted, seconds: 20, seed, corpus: [] })
    expect(result.failure?.error).toMatch(/memory/i)
  })
})
