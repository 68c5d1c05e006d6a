import { describe, expect, test } from 'vitest'
import type { PathInfo } from '../../../../../src/model/nix/path-info.ts'
import { PathIndex } from '../../../../../src/servers/http/pages/path-index.ts'
import type { Call } from '../../../../../src/support/call.ts'
import { StoreError } from '../../../../../src/support/errors.ts'
import { makePathInfo } from '../../../../support/path-infos.ts'

const infos = (count: number) => Array.from({ length: count }, (_, i) => makePathInfo(`${i}`))

/** A listing that stops before its path number `at` until the gate opens. */
function gated(paths: readonly PathInfo[], at: number) {
  const gate = Promise.withResolvers<void>()
  async function* list() {
    for (const [i, path] of paths.entries()) {
      if (i === at) await gate.promise
      yield path
    }
  }
  return { list, open: () => gate.resolve() }
}

describe('the index of names', () => {
  test('a small store is there with the first answer', async () => {
    const index = new PathIndex(async function* () {
      yield* infos(1_000)
    })
    const { names, state } = await index.snapshot()
    expect([names.length, names.narSize, state]).toEqual([1_000, 136_000, 'complete'])
  })

  test('a large one is shown as far as it was read, and said to be partial', async () => {
    const { list, open } = gated(infos(10_000), 9_000)
    const index = new PathIndex(list)
    let snapshot = await index.snapshot()
    while (snapshot.names.length === 0) snapshot = await index.snapshot()
    expect(snapshot.state).toBe('reading')
    expect(snapshot.names.length).toBeGreaterThanOrEqual(4_096)
    expect(snapshot.names.length).toBeLessThan(9_000)
    open()
    await index.settled()
    expect(await index.snapshot()).toMatchObject({ state: 'complete', names: { length: 10_000 } })
  })

  test('of more than the limit the beginning is kept, and said to be cut', async () => {
    let listed = 0
    const index = new PathIndex(
      async function* () {
        for (const info of infos(500)) {
          listed++
          yield info
        }
      },
      { pathsMax: 100 },
    )
    const { names, state } = await index.snapshot()
    expect([names.length, state]).toEqual([100, 'cut'])
    expect(listed).toBe(101)
  })

  test('exactly as many as the limit are all', async () => {
    const index = new PathIndex(
      async function* () {
        yield* infos(100)
      },
      { pathsMax: 100 },
    )
    expect((await index.snapshot()).state).toBe('complete')
  })

  test('what is new enough is not read again, whoever asks', async () => {
    let readings = 0
    const index = new PathIndex(async function* () {
      readings++
      yield* infos(10)
    })
    await Promise.all(Array.from({ length: 20 }, () => index.snapshot()))
    await index.snapshot()
    expect(readings).toBe(1)
  })

  test('a listing that fails leaves what was known, with the reason', async () => {
    const index = new PathIndex(async function* () {
      yield makePathInfo('a')
      throw new StoreError('unavailable', 'the database is away')
    })
    const { names, state, failure } = await index.snapshot()
    expect([names.length, state, failure?.message]).toEqual([0, 'failed', 'the database is away'])
  })

  test('closing ends a listing', async () => {
    const seen = Promise.withResolvers<AbortSignal>()
    const index = new PathIndex(async function* ({ signal }: Call) {
      seen.resolve(signal!)
      await new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason)))
      yield makePathInfo('never')
    })
    const asked = index.snapshot()
    index.close()
    expect((await seen.promise).aborted).toBe(true)
    await asked
    await index.settled()
    expect((await index.snapshot()).failure?.code).toBe('cancelled')
  })
})
