import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { NarIndex } from '../../src/services/nar-index/interface.ts'
import { openLmdbNarIndex } from '../../src/services/nar-index/lmdb.ts'
import { memoryNarIndex } from '../../src/services/nar-index/memory.ts'
import { openNarIndex } from '../../src/services/nar-index/open.ts'
import { collect } from '../support/collect.ts'
import { tempDir } from '../support/temp-dir.ts'
import { NAR_INDEX_CASES, narIndexSuite, SUITE_LIMITS } from './nar-index.ts'
import { brokenCases, nothingToClean } from './suite.ts'

const memory = () => memoryNarIndex({ pending: SUITE_LIMITS })

async function makeLmdb() {
  const dir = await tempDir()
  const subject = await openLmdbNarIndex(join(dir.path, 'index.lmdb'), SUITE_LIMITS)
  return {
    subject,
    async [Symbol.asyncDispose]() {
      await subject[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

narIndexSuite('NAR index: memory', nothingToClean(memory))
narIndexSuite('NAR index: LMDB', makeLmdb)

describe('LMDB', () => {
  test('outlives the process, with what waits and its place under the limits', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'index.lmdb')
    const pending = (n: number) => ({
      outputHash: Buffer.alloc(20, n),
      awaited: Buffer.alloc(32, n),
      document: Buffer.from('document'),
      storedAt: 1,
    })
    {
      await using index = await openLmdbNarIndex(path, SUITE_LIMITS)
      await index.addPending(pending(1))
      await index.addPending(pending(2))
    }
    await using index = await openLmdbNarIndex(path, SUITE_LIMITS)
    expect(await collect(index.listPending())).toHaveLength(2)
    await expect(index.addPending(pending(3))).rejects.toMatchObject({ code: 'exhausted' })
    await index.removePending(pending(1))
    await index.addPending(pending(3))
  })
})

test('memory: of NARs the latest only', async () => {
  const index = memoryNarIndex({ nars: 2 })
  const nar = {
    node: { kind: 'symlink', target: Buffer.from('x') as never },
    narSha256: Buffer.alloc(32),
    narSize: 1n,
    fileSize: 1n,
    compression: 'none',
  } as const
  for (const n of [1, 2, 3]) await index.put(Buffer.alloc(32, n), nar)
  const found = await Promise.all([1, 2, 3].map((n) => index.get(Buffer.alloc(32, n))))
  expect(found.map(Boolean)).toEqual([false, true, true])
})

describe('negative controls: an index that', () => {
  const broken: [string, (base: NarIndex) => Partial<NarIndex>][] = [
    ['forgets', () => ({ put: async () => {} })],
    ['has no limits', () => memoryNarIndex()],
    ['gives everybody everything', (base) => ({ pendingOf: () => collect(base.listPending()) })],
    ['removes nothing', () => ({ removePending: async () => {} })],
  ]
  test.each(broken)('%s', async (_, change) => {
    const make = nothingToClean(() => {
      const base = memory()
      const own: NarIndex = {
        get: (...args) => base.get(...args),
        put: (...args) => base.put(...args),
        addPending: (...args) => base.addPending(...args),
        pendingOf: (...args) => base.pendingOf(...args),
        listPending: (...args) => base.listPending(...args),
        removePending: (...args) => base.removePending(...args),
        [Symbol.asyncDispose]: () => base[Symbol.asyncDispose](),
      }
      const changes = change(base)
      return changes.addPending ? (changes as NarIndex) : { ...own, ...changes }
    })
    expect(await brokenCases(NAR_INDEX_CASES, make)).not.toEqual([])
  })
})

test.each(['redb:///x', 'lmdb://', 'lmdb:x', 'lmdb://host/x', 'lmdb:///x?y', '/x', ''])(
  '%j is no address of an index',
  async (address) => {
    await expect(openNarIndex(address)).rejects.toMatchObject({ code: 'invalid-argument' })
  },
)
