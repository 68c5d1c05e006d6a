import { describe, expect, test } from 'vitest'
import type { PathInfo } from '../../../../../src/model/nix/path-info.ts'
import { closureOf } from '../../../../../src/servers/http/pages/closure.ts'
import { memoryPathInfoService } from '../../../../../src/services/pathinfos/memory.ts'
import { StoreError } from '../../../../../src/support/errors.ts'
import { makePathInfo } from '../../../../support/path-infos.ts'

const LIMITS = { paths: 1_000, ms: 60_000 }

/** From `{ a: ['b'] }`: a refers to b. What is not a key is not stored. */
async function storeOf(graph: Readonly<Record<string, readonly string[]>>) {
  const service = memoryPathInfoService()
  const stored: Record<string, PathInfo> = {}
  for (const [label, to] of Object.entries(graph)) {
    const references = to.map((other) => makePathInfo(other).storePath)
    stored[label] = await service.put(makePathInfo(label, { references, narSize: 10n }))
  }
  return { service, stored }
}

describe('closures', () => {
  test('each path once, the path itself and cycles included', async () => {
    const { service, stored } = await storeOf({
      a: ['a', 'b', 'c'],
      b: ['d'],
      c: ['d', 'b'],
      d: ['a'],
      e: [],
    })
    const closure = await closureOf(service, stored['a']!, LIMITS)
    expect(closure.paths.map(({ storePath }) => storePath.name)).toEqual([
      'path-a',
      'path-b',
      'path-c',
      'path-d',
    ])
    expect(closure).toMatchObject({ narSize: 40n, missing: [], isComplete: true })
  })

  test('what is not here is named', async () => {
    const { service, stored } = await storeOf({ a: ['b', 'gone'], b: [] })
    const closure = await closureOf(service, stored['a']!, LIMITS)
    expect(closure.missing.map((path) => path.name)).toEqual(['path-gone'])
    expect(closure).toMatchObject({ narSize: 20n, isComplete: true })
  })

  test('it ends at the limit of paths, and says so', async () => {
    const chain = Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`${i}`, [`${i + 1}`]]))
    const { service, stored } = await storeOf(chain)
    const closure = await closureOf(service, stored['0']!, { ...LIMITS, paths: 10 })
    expect([closure.paths.length, closure.isComplete]).toEqual([10, false])
  })

  test('it ends when its time is over, with what it has', async () => {
    const { service, stored } = await storeOf({ a: ['b'] })
    const slow = {
      ...service,
      get: (_: Uint8Array, call?: { signal?: AbortSignal | undefined }) =>
        new Promise<never>((_resolve, reject) =>
          call!.signal!.addEventListener('abort', () => reject(StoreError.from(call!.signal!.reason))),
        ),
      list: () => service.list(),
      put: (info: PathInfo) => service.put(info),
    }
    const closure = await closureOf(slow, stored['a']!, { ...LIMITS, ms: 1 })
    expect([closure.paths.length, closure.isComplete]).toEqual([1, false])
  })

  test('a failing store is an error, not a small closure', async () => {
    const { service, stored } = await storeOf({ a: ['b'] })
    const failing = {
      get: () => Promise.reject(new StoreError('unavailable', 'away')),
      list: () => service.list(),
      put: (info: PathInfo) => service.put(info),
    }
    await expect(closureOf(failing, stored['a']!, LIMITS)).rejects.toMatchObject({ code: 'unavailable' })
  })
})
