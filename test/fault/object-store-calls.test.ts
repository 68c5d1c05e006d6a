/**
 * Every call that the services make to an object store goes wrong once (reliability T10, T12): the k-th one fails,
 * hangs, is cut short or lies, for k = 1, 2, … until the scenario runs untouched. Whatever happens, nobody gets a wrong
 * byte, nobody is told that something is absent that is there, no call stays open, and what a failure left behind is
 * repaired by doing the same again.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import type { Directory } from '../../src/model/castore/directory.ts'
import type { DirectoryNode, Node } from '../../src/model/castore/node.ts'
import { cacheBlobService } from '../../src/services/blobs/cache.ts'
import { combinedBlobService } from '../../src/services/blobs/combined.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { priorityBlobService } from '../../src/services/blobs/priority.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { writeBackBlobService } from '../../src/services/blobs/write-back.ts'
import { writeThroughBlobService } from '../../src/services/blobs/write-through.ts'
import { cacheDirectoryService } from '../../src/services/directories/cache.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { objectStoreDirectoryService } from '../../src/services/directories/object-store.ts'
import { priorityDirectoryService } from '../../src/services/directories/priority.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { writeBackDirectoryService } from '../../src/services/directories/write-back.ts'
import { writeThroughDirectoryService } from '../../src/services/directories/write-through.ts'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { SourceSet } from '../../src/services/source-set.ts'
import { openWriteQueue } from '../../src/services/write-queue.ts'
import { concatBytes, hex } from '../../src/support/bytes.ts'
import type { Call } from '../../src/support/call.ts'
import { StoreError } from '../../src/support/errors.ts'
import { TreeCopier } from '../../src/transfer/copy-tree.ts'
import { ingestTree } from '../../src/transfer/ingest-tree.ts'
import { until } from '../support/cli.ts'
import { collect } from '../support/collect.ts'
import { type Effect, FaultyObjectStore, type Plan, TOLD_AS } from '../support/faulty-object-store.ts'
import { overriding } from '../support/overriding-objects.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { tempDir } from '../support/temp-dir.ts'

interface Castore {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

/** Stacked as the program stacks them. */
function castoreOf(objects: ObjectStore): Castore {
  return {
    blobs: verifyingBlobService(objectStoreBlobService(objects), objects.name),
    directories: verifyingDirectoryService(objectStoreDirectoryService(objects), objects.name),
  }
}

let source: string
let removeSource: () => PromiseLike<void>
let root: DirectoryNode
/** A store that has everything, to be read from and compared with. */
let whole: ObjectStore
let tree: string[]

beforeAll(async () => {
  const dir = await tempDir()
  removeSource = () => dir[Symbol.asyncDispose]()
  source = join(dir.path, 'source')
  await mkdir(join(source, 'a/b/c'), { recursive: true })
  await mkdir(join(source, 'empty'))
  for (let i = 0; i < 6; i++) await writeFile(join(source, i % 2 ? 'a/b' : '.', `file-${i}`), `contents ${i}`)
  await writeFile(join(source, 'a/b/c/medium'), pseudoRandom(40_000, 1))
  await writeFile(join(source, 'large'), pseudoRandom(700_000, 2))
  await writeFile(join(source, 'nothing'), '')
  whole = memoryObjectStore()
  root = (await ingestTree(castoreOf(whole), source, { sizeFormula: 'rust' })) as DirectoryNode
  tree = await readTree(castoreOf(whole), root)
})
afterAll(() => removeSource())

/** Every directory and the contents of every file below a node, as text to compare. Absence of any is an error. */
async function readTree(from: Castore, node: DirectoryNode, call?: Call): Promise<string[]> {
  const directories = await collect(from.directories.getRecursive(node.digest, call))
  if (directories.length === 0) throw new Lie(`directory ${node.digest} is said to be absent`)
  const lines = directories.map(({ digest, encoded }) => `directory ${digest} ${hex(encoded)}`)
  for (const file of directories.flatMap(filesOf)) {
    const stream = await from.blobs.openRead(file.digest, call)
    if (!stream) throw new Lie(`blob ${file.digest} is said to be absent`)
    lines.push(`blob ${file.digest} ${Digest.of(concatBytes(await collect(stream)))}`)
  }
  return lines
}

class Lie extends Error {}

function filesOf(directory: Directory): Extract<Node, { kind: 'file' }>[] {
  return directory.entries.flatMap(({ node }) => (node.kind === 'file' ? [node] : []))
}

interface Scenario {
  /** What the faulty store has at first. */
  readonly stored: () => ObjectStore
  /** The result is compared with what it is without faults. */
  readonly run: (faulty: Castore, call: Call) => Promise<unknown>
  readonly writes: boolean
  /** As a guard against a loop that ends too early. */
  readonly callsMin: number
}

const scenarios: Readonly<Record<string, Scenario>> = {
  ingest: {
    stored: memoryObjectStore,
    run: async (faulty, call) => {
      const node = await ingestTree(faulty, source, { sizeFormula: 'rust', ...call })
      return (node as DirectoryNode).digest.hex
    },
    writes: true,
    callsMin: 25,
  },
  'the same ingest again': {
    stored: () => copyOf(whole),
    run: async (faulty, call) => {
      const node = await ingestTree(faulty, source, { sizeFormula: 'rust', ...call })
      return (node as DirectoryNode).digest.hex
    },
    writes: true,
    callsMin: 15,
  },
  read: {
    stored: () => whole,
    run: async (faulty, call) => await readTree(faulty, root, call),
    writes: false,
    callsMin: 10,
  },
  'a cold directory, at the root and inside': {
    stored: () => whole,
    run: async ({ directories }, call) => {
      const found = await directories.get(root.digest, call)
      if (!found) throw new Lie('the root is said to be absent')
      const lines = [hex(found.encoded)]
      for (const child of found.children()) {
        const inner = await collect(directories.getRecursive(child.digest, call))
        if (inner.length === 0) throw new Lie(`${child.digest} is said to be absent`)
        lines.push(...inner.map(({ encoded }) => hex(encoded)))
      }
      return lines
    },
    writes: false,
    callsMin: 5,
  },
  'asking what is there': {
    stored: () => whole,
    run: async ({ blobs }, call) => {
      const answers: unknown[] = []
      const directories = await collect(castoreOf(whole).directories.getRecursive(root.digest))
      for (const { digest } of directories.flatMap(filesOf)) {
        const chunks = await blobs.chunks(digest, call)
        if (!chunks || !(await blobs.has(digest, call))) throw new Lie(`blob ${digest} is said to be absent`)
        // The digests in a list are proven when the chunks are read (docs/decisions.md), not before.
        answers.push(chunks.map(({ size }) => size))
      }
      return answers
    },
    writes: false,
    callsMin: 10,
  },
  'copy from it': {
    stored: () => whole,
    run: async (faulty, call) => {
      const to = castoreOf(memoryObjectStore())
      await new TreeCopier(faulty, to, { reuseChunks: true }).copy(root, { thorough: false, ...call })
      return await readTree(to, root)
    },
    writes: false,
    callsMin: 10,
  },
  'copy to it': {
    stored: memoryObjectStore,
    run: async (faulty, call) => {
      await new TreeCopier(castoreOf(whole), faulty, { reuseChunks: true }).copy(root, {
        thorough: false,
        ...call,
      })
      return 'copied'
    },
    writes: true,
    callsMin: 25,
  },
}

/** After these the store itself is damaged: it has what nobody sent, or lacks what it confirmed. */
const DAMAGING: readonly Effect[] = ['truncate', 'flip', 'pretend']

function copyOf(base: ObjectStore): ObjectStore {
  const objects = memoryObjectStore()
  // What was there before is read through; writes stay here.
  return {
    ...overriding(objects),
    get: async (key, call) => (await objects.get(key, call)) ?? (await base.get(key, call)),
    head: async (key, call) => (await objects.head(key, call)) ?? (await base.head(key, call)),
  }
}

describe.each(Object.entries(scenarios))('%s', (title, scenario) => {
  it.each(Object.keys(TOLD_AS) as Effect[])(
    'holds its promises when one call goes wrong: %s',
    { timeout: 120_000 },
    async (effect) => {
      const right = await scenario.run(castoreOf(scenario.stored()), {})
      let nth = 1
      while (await goesWrong(scenario, { nth, effect }, right)) nth++
      console.info(`${title}, ${effect}: untouched at k = ${nth}`)
      expect(nth).toBeGreaterThan(scenario.callsMin)
    },
  )
})

/** Layers over the store that fails; what is nearer works, and is empty at first. */
const layers: Readonly<
  Record<string, { readonly scenarios: readonly string[]; readonly stack: typeof castoreOf }>
> = {
  'a cache': {
    scenarios: ['read', 'a cold directory, at the root and inside', 'asking what is there', 'copy from it'],
    stack: (objects) => cacheOver(castoreOf(memoryObjectStore()), castoreOf(objects)),
  },
  'a priority list': {
    scenarios: ['read', 'a cold directory, at the root and inside', 'asking what is there', 'copy from it'],
    stack(objects) {
      const [empty, full] = [castoreOf(memoryObjectStore()), castoreOf(objects)]
      return {
        blobs: verifyingBlobService(priorityBlobService(sidesOf(empty.blobs, full.blobs).set), 'priority'),
        directories: verifyingDirectoryService(
          priorityDirectoryService(sidesOf(empty.directories, full.directories).set),
          'priority',
        ),
      }
    },
  },
  combined: {
    scenarios: ['ingest', 'the same ingest again', 'copy to it', 'read', 'copy from it'],
    stack(objects) {
      const [local, remote] = [castoreOf(objects), castoreOf(memoryObjectStore())]
      const { set } = sidesOf(local.blobs, remote.blobs)
      return {
        blobs: verifyingBlobService(combinedBlobService(local.blobs, set), 'combined'),
        directories: local.directories,
      }
    },
  },
  batches: {
    scenarios: ['ingest', 'the same ingest again', 'copy to it'],
    stack: (objects) => castoreOf(inBatches(objects)),
  },
  'a write-through': {
    scenarios: ['ingest', 'the same ingest again', 'copy to it'],
    stack(objects) {
      const [near, far] = [castoreOf(memoryObjectStore()), castoreOf(objects)]
      const reads = cacheOver(near, far)
      const [blobs, directories] = [
        sidesOf(near.blobs, far.blobs),
        sidesOf(near.directories, far.directories),
      ]
      return {
        blobs: writeThroughBlobService(reads.blobs, blobs.near, blobs.far, blobs.set),
        directories: writeThroughDirectoryService(
          reads.directories,
          directories.near,
          directories.far,
          directories.set,
        ),
      }
    },
  },
}

/** With batches, of which each object is a call by itself. */
function inBatches(objects: ObjectStore): ObjectStore {
  return {
    ...overriding(objects),
    putMany: (all, call) =>
      Promise.all(
        all.map(async ({ key, body }) => {
          try {
            const stored = call?.zstd ? zstdCompressSync(body) : body
            await objects.put(key, stored, { signal: call?.signal, ifAbsent: true })
            return undefined
          } catch (error) {
            return StoreError.from(error)
          }
        }),
      ),
  }
}

function sidesOf<S>(nearService: S, farService: S) {
  const [near, far] = [
    { name: 'near', service: nearService },
    { name: 'far', service: farService },
  ]
  return { near, far, set: new SourceSet([near, far]) }
}

function cacheOver(nearSide: Castore, farSide: Castore): Castore {
  const blobs = sidesOf(nearSide.blobs, farSide.blobs)
  const directories = sidesOf(nearSide.directories, farSide.directories)
  return {
    blobs: verifyingBlobService(cacheBlobService(blobs.near, blobs.far, blobs.set), 'cache'),
    directories: verifyingDirectoryService(
      cacheDirectoryService(directories.near, directories.far, directories.set),
      'cache',
    ),
  }
}

describe.each(Object.entries(layers))('%s over it', (layer, { scenarios: titles, stack }) => {
  it.each(
    titles.flatMap((title) => Object.keys(TOLD_AS).map((effect) => [title, effect as Effect] as const)),
  )('holds its promises when one call goes wrong: %s, %s', { timeout: 120_000 }, async (title, effect) => {
    const scenario = scenarios[title]!
    const right = await scenario.run(castoreOf(scenario.stored()), {})
    let nth = 1
    while (await goesWrong(scenario, { nth, effect }, right, stack)) nth++
    console.info(`${layer}, ${title}, ${effect}: untouched at k = ${nth}`)
    expect(nth).toBeGreaterThan(1) // a cold directory is a single call: its whole closure
  })
})

describe('a write-back over it', () => {
  /** True when the fault was reached. */
  async function sendsAll(plan: Plan): Promise<boolean> {
    await using dir = await tempDir()
    await using queue = await openWriteQueue(join(dir.path, 'queue.lmdb'))
    const objects = memoryObjectStore()
    const faulty = new FaultyObjectStore(objects, plan, new AbortController())
    const [near, far] = [castoreOf(memoryObjectStore()), castoreOf(faulty)]
    const [blobs, directories] = [sidesOf(near.blobs, far.blobs), sidesOf(near.directories, far.directories)]
    const both = {
      blobs: writeBackBlobService(near.blobs, blobs.near, blobs.far, queue),
      directories: writeBackDirectoryService(near.directories, directories.near, directories.far, queue),
    }
    await ingestTree(both, source, { sizeFormula: 'rust' })
    await queue.drained({ signal: AbortSignal.timeout(60_000) })
    expect(await readTree(castoreOf(objects), root), `k = ${plan.nth}, ${plan.effect}`).toEqual(tree)
    return faulty.wentWrong
  }

  // Each that fails waits a second before it is tried again, so several run side by side.
  const AT_ONCE = 16
  it.each(['fail', 'fail-late'] as const)(
    'sends everything when one call goes wrong: %s',
    { timeout: 120_000 },
    async (effect) => {
      for (let first = 1; ; first += AT_ONCE) {
        const all = Array.from({ length: AT_ONCE }, (_, i) => sendsAll({ nth: first + i, effect }))
        const untouched = (await Promise.all(all)).indexOf(false)
        if (untouched < 0) continue
        console.info(`write-back, ${effect}: untouched at k = ${first + untouched}`)
        expect(first + untouched).toBeGreaterThan(25)
        return
      }
    },
  )
})

/** Stacks with one promise broken, and the effect by which it shows. */
const broken: Readonly<Record<string, { readonly effect: Effect; readonly stack: typeof castoreOf }>> = {
  'calls a failure absence': {
    effect: 'fail',
    stack: (objects) =>
      castoreOf({
        ...overriding(objects),
        get: (key, call) => objects.get(key, call).catch(() => undefined),
      }),
  },
  'does not verify': {
    effect: 'flip',
    stack: (objects) => ({
      blobs: objectStoreBlobService(withoutZstdErrors(objects)),
      directories: objectStoreDirectoryService(objects),
    }),
  },
}

/** Bytes that are damaged after they were decompressed, as on a disk below a store that does not compress. */
function withoutZstdErrors(objects: ObjectStore): ObjectStore {
  return {
    ...overriding(objects),
    async get(key, call) {
      const found = await objects.get(key, call)
      const right = await whole.get(key)
      if (!found || !right || !key.startsWith('chunks/') || Buffer.compare(found, right) === 0) return found
      const contents = zstdDecompressSync(right)
      contents[0]! ^= 1
      return zstdCompressSync(contents)
    },
  }
}

describe('the loop finds a stack that', () => {
  it.each(Object.entries(broken))('%s', async (_, { effect, stack }) => {
    const { read } = scenarios
    const right = await read!.run(castoreOf(whole), {})
    const untouched = async () => {
      for (let nth = 1; await goesWrong(read!, { nth, effect }, right, stack); nth++);
    }
    await expect(untouched()).rejects.toThrow()
  })
})

/** Runs a scenario with a fault, and checks all promises. False when the fault was never reached. */
async function goesWrong(
  scenario: Scenario,
  plan: Plan,
  right: unknown,
  stack = castoreOf,
): Promise<boolean> {
  const objects = scenario.stored()
  const deadline = new AbortController()
  const faulty = new FaultyObjectStore(objects, plan, deadline)
  const services = stack(faulty)
  const where = `k = ${plan.nth}, ${plan.effect}`
  try {
    const result = await scenario.run(services, { signal: deadline.signal })
    // It may have come out right all the same: nobody needed the answer, or the damage was done to nothing.
    expect(result, where).toEqual(right)
  } catch (error) {
    if (!(error instanceof StoreError)) throw new Error(`${where}: ${error}`, { cause: error })
    expect(TOLD_AS[plan.effect], `${where}: ${error.message}`).toContain(error.code)
  }
  // What was under way beside the failure ends by itself, or was told to.
  await until(() => faulty.open === 0)
  const { wentWrong } = faulty
  // Nothing wrong was kept on the way.
  if (wentWrong && !scenario.writes)
    expect(await scenario.run(services, {}), `${where}: again`).toEqual(right)
  if (wentWrong && scenario.writes) await checkWritten(scenario, objects, plan.effect, where)
  return wentWrong
}

async function checkWritten(scenario: Scenario, objects: ObjectStore, effect: Effect, where: string) {
  const isDamaged = DAMAGING.includes(effect)
  const castore = castoreOf(objects)
  // What is visible is complete and right: the root, if it is there, with everything below it.
  const found = await castore.directories.get(root.digest).catch(isDamaged ? onlyCorrupt : rethrow)
  if (found)
    expect(await readTree(castore, root).catch(isDamaged ? onlyCorrupt : rethrow), where).toBeOneOf([
      tree,
      undefined,
    ])
  if (isDamaged) return
  await scenario.run(castore, {})
  expect(await readTree(castore, root), `${where}: done again`).toEqual(tree)
}

function rethrow(error: unknown): never {
  throw error
}

/** A store that is damaged is found out, never believed. (A blob that it confirmed and lost is absent, and truly.) */
function onlyCorrupt(error: unknown): undefined {
  if (error instanceof Lie) return undefined
  expect(error).toMatchObject({ code: 'corrupt' })
  return undefined
}
