import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { PathInfo } from '../../../src/model/nix/path-info.ts'
import { StorePath } from '../../../src/model/nix/store-path.ts'
import type { PathInfoService } from '../../../src/services/pathinfos/interface.ts'
import { memoryPathInfoService } from '../../../src/services/pathinfos/memory.ts'
import { type CopyJob, copyPaths } from '../../../src/transfer/copy-paths.ts'
import { castoreJob } from '../../../src/transfer/copy-sources.ts'
import { TreeCopier } from '../../../src/transfer/copy-tree.ts'
import { planAll, planClosure, planGraph } from '../../../src/transfer/plan-copy.ts'
import { referencesFirst } from '../../../src/transfer/reference-order.ts'
import { MemoryStore, storePathOf } from '../../support/memory-store.ts'

/** Remembers in which order paths became visible. */
class Recording implements PathInfoService {
  readonly order: PathInfo[] = []
  readonly #base = memoryPathInfoService()
  get = this.#base.get.bind(this.#base)
  list = this.#base.list.bind(this.#base)
  async put(pathInfo: PathInfo): Promise<PathInfo> {
    await turn()
    this.order.push(pathInfo)
    return await this.#base.put(pathInfo)
  }
}

/** The promise: nobody ever sees a path without its references. */
function expectReferencesFirst(order: readonly PathInfo[]): void {
  const visible = new Set<string>()
  for (const { storePath, references } of order) {
    visible.add(String(storePath))
    for (const reference of references)
      expect(visible, `${storePath} needs ${reference}`).toContain(String(reference))
  }
}

/** Paths p0 to p<n-1>, each referring to some of the earlier ones and every third to itself; listed last to first. */
async function randomPaths(store: MemoryStore, count: number, seed: number): Promise<PathInfo[]> {
  const paths: PathInfo[] = []
  for (let i = 0; i < count; i++) {
    const earlier = paths.filter((_, j) => Math.imul(i * 31 + j * 17 + seed, 2654435761) >>> 29 === 0)
    const references = earlier.map(({ storePath }) => storePath)
    if (i % 3 === 0) references.push(storePathOf(`p${i}`))
    paths.push(await store.path(`p${i}`, await store.file(`contents ${i % 7}`), references))
  }
  return paths.reverse()
}

function jobs(from: MemoryStore, to: MemoryStore, paths: readonly PathInfo[]): CopyJob[] {
  const copier = new TreeCopier(from, to, { reuseChunks: false })
  return paths.map((path) => castoreJob(copier, path))
}

describe('copying paths', () => {
  test.each([1, 2, 3, 4, 5])('a path becomes visible after its references (seed %i)', async (seed) => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const recording = new Recording()
    to.pathInfos = recording
    const paths = await randomPaths(from, 60, seed)
    // Contents that arrive early must wait, too: the later a path comes in order, the less it takes.
    const slow = jobs(from, to, paths).map((job, i) => ({
      ...job,
      bring: async (options: Parameters<CopyJob['bring']>[0]) => {
        for (let n = 0; n < i; n++) await turn()
        return await job.bring(options)
      },
    }))
    await copyPaths(to, slow, {})
    expect(recording.order).toHaveLength(60)
    expectReferencesFirst(recording.order)
  })

  test('the check above tells a copy that does not wait', async () => {
    const paths = await randomPaths(new MemoryStore(), 60, 1)
    expect(() => expectReferencesFirst(paths)).toThrow(/needs/)
  })

  test('a path that does not have its NAR hash is refused by name, and so is all that refers to it', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const a = await from.path('a', await from.file('a'))
    const b = await from.path('b', await from.file('b'), [a.storePath])
    const c = await from.path('c', await from.file('c'), [b.storePath])
    const forged = { ...b, node: a.node }
    await expect(copyPaths(to, jobs(from, to, [c, forged, a]), {})).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(new RegExp(`^${b.storePath.absolutePath}: .*NarHash`)),
    })
    expect(await to.pathInfos.get(b.storePath.digest)).toBeUndefined()
    expect(await to.pathInfos.get(c.storePath.digest)).toBeUndefined()
  })

  test('a destination that lost a blob below a directory it kept is made whole', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const file = await from.file('precious')
    const path = await from.path('p', await from.directory({ file }))
    await copyPaths(to, jobs(from, to, [path]), {})
    to.lossy.lost.add(file.digest.key)
    to.pathInfos = memoryPathInfoService()
    await copyPaths(to, jobs(from, to, [path]), {})
    await to.narCalculation.calculateNar(path.node)
    expect(await to.pathInfos.get(path.storePath.digest)).toBeDefined()
  })

  test('signatures, deriver and references come along', async () => {
    const [from, to] = [new MemoryStore(), new MemoryStore()]
    const plain = await from.path('p', await from.file('p'), [storePathOf('p')])
    const signature = { keyName: 'k', bytes: new Uint8Array(64) }
    const full = { ...plain, signatures: [signature], deriver: storePathOf('d') }
    await copyPaths(to, jobs(from, to, [full]), {})
    expect(await to.pathInfos.get(plain.storePath.digest)).toEqual(full)
  })
})

describe('the order', () => {
  test('circles are refused, named; doubles come once; what is not there does not count', () => {
    const [a, b, c] = ['a', 'b', 'c'].map(storePathOf) as [never, never, never]
    const circle = [
      { storePath: a, references: [b] },
      { storePath: b, references: [c] },
      { storePath: c, references: [a] },
    ]
    expect(() => referencesFirst(circle)).toThrow(`circle: ${a} → ${b} → ${c} → ${a}`)
    const one = { storePath: a, references: [a, b] }
    expect(referencesFirst([one, one])).toEqual([one])
  })

  test('a chain of 100,000 paths', () => {
    const labels = Array.from({ length: 100_000 }, (_, i) => storePathOf(`p${i}`))
    const chain = labels.map((storePath, i) => ({ storePath, references: labels.slice(i + 1, i + 2) }))
    expect(referencesFirst(chain)[0]).toBe(chain.at(-1))
  })
})

describe('what is to be copied', () => {
  async function twoOfThree() {
    const [from, to] = [new MemoryStore('the source'), new MemoryStore('the destination')]
    const a = await from.path('a', await from.file('a'))
    const b = await from.path('b', await from.file('b'), [a.storePath])
    const c = await from.path('c', await from.file('c'), [b.storePath, storePathOf('c')])
    return { from, to, a, b, c }
  }

  test('the closure, without what is there', async () => {
    const { from, to, a, b, c } = await twoOfThree()
    expect(await planClosure(from, to, [c.storePath])).toEqual({ missing: [c, b, a], present: 0 })
    await to.pathInfos.put(a)
    expect(await planClosure(from, to, [c.storePath])).toEqual({ missing: [c, b], present: 1 })
  })

  test('below a path that is there its references are looked for', async () => {
    const { from, to, a, b, c } = await twoOfThree()
    await to.pathInfos.put(b)
    expect(await planClosure(from, to, [c.storePath])).toEqual({ missing: [c, a], present: 1 })
  })

  test('what the destination has is not asked of the source', async () => {
    const { to, a } = await twoOfThree()
    await to.pathInfos.put(a)
    const get = () => Promise.reject(new Error('asked'))
    const silent = { describe: 'silent', pathInfos: { ...memoryPathInfoService(), get } as never }
    expect(await planClosure(silent, to, [a.storePath])).toEqual({ missing: [], present: 1 })
  })

  test('a path that nobody has is named with the one that refers to it', async () => {
    const { from, to, b } = await twoOfThree()
    const d = await from.path('d', await from.file('d'), [storePathOf('gone')])
    const gone = storePathOf('gone').absolutePath
    await expect(planClosure(from, to, [b.storePath, d.storePath])).rejects.toMatchObject({
      code: 'not-found',
      message: `${gone} is not in the source, although ${d.storePath.absolutePath} refers to it`,
    })
    expect((await planAll(from, to)).missing).toHaveLength(4)
    await expect(planGraph(to, [b, d])).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(planGraph(to, [d])).rejects.toThrow(`refers to ${gone}, which is neither`)
  })

  test('the same hash under another name is another path', async () => {
    const { from, to, a } = await twoOfThree()
    const other = StorePath.fromParts(a.storePath.digest, 'other')
    await expect(planClosure(from, to, [other])).rejects.toMatchObject({ code: 'not-found' })
  })
})
