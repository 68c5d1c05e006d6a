/** What every DirectoryService promises (src/services/directories/interface.ts), one case a promise. */
import assert from 'node:assert/strict'
import type { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { type ErrorCode, StoreError } from '../../src/support/errors.ts'
import {
  chain,
  directoryNode,
  entry,
  fileNode,
  leaf,
  makeDirectory,
  symlinkNode,
  vectorDirectory,
} from '../support/directories.ts'
import { vectors } from '../support/vectors.ts'
import { type Case, type Make, runCases } from './suite.ts'

export interface DirectoryServiceProperties {
  /**
   * `any`: `put` takes a directory with sub-directories. `leaves`: it refuses one with `invalid-argument`, as whole
   * closures are stored only. `forgotten`: as `any`, but what is there may be dropped again, so that a closure with a
   * hole is nothing to wonder about.
   */
  readonly singlePuts: 'any' | 'leaves' | 'forgotten'
}

export function directoryServiceSuite(
  name: string,
  make: Make<DirectoryService>,
  properties: DirectoryServiceProperties,
): void {
  runCases(name, [...directoryServiceCases, ...singlePutCases[properties.singlePuts]], make)
}

const A = vectorDirectory('A')
const B = vectorDirectory('B')
const C = vectorDirectory('C')
const D = vectorDirectory('D')
const E = vectorDirectory('E')
const WITH_KEEP = vectorDirectory('WITH_KEEP')
const COMPLICATED = vectorDirectory('COMPLICATED')
const BROKEN_PARENT = vectorDirectory('BROKEN_PARENT_DIRECTORY')

async function upload(directories: DirectoryService, closure: readonly Directory[]): Promise<Digest> {
  const putter = directories.startPutter()
  for (const directory of closure) await putter.put(directory)
  return putter.close()
}

async function recursive(directories: DirectoryService, root: Digest): Promise<string[]> {
  const digests: string[] = []
  for await (const directory of directories.getRecursive(root)) digests.push(directory.digest.hex)
  return digests
}

function digestsOf(directories: readonly Directory[]): string[] {
  return directories.map(({ digest }) => digest.hex)
}

async function assertHolds(directories: DirectoryService, expected: Directory): Promise<void> {
  const found = await directories.get(expected.digest)
  assert.ok(found, `absent: ${expected.digest}`)
  // Not deepEqual: the difference of two large buffers takes minutes to print.
  assert.equal(Buffer.compare(found.encoded, expected.encoded), 0, `another directory: ${found.digest}`)
}

async function assertAbsent(directories: DirectoryService, directory: Directory): Promise<void> {
  assert.equal(await directories.get(directory.digest), undefined)
  assert.deepEqual(await recursive(directories, directory.digest), [])
}

async function assertFails(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, code, error.message)
    return true
  })
}

function aborted(): { signal: AbortSignal } {
  return { signal: AbortSignal.abort(new StoreError('cancelled', 'the test aborts')) }
}

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

function roundTrip(title: string, makeClosure: () => readonly Directory[]): Case<DirectoryService> {
  return {
    title: `gives back ${title}`,
    async run(directories) {
      const closure = makeClosure()
      const root = closure.at(-1)!
      assert.equal((await upload(directories, closure)).hex, root.digest.hex)
      await assertHolds(directories, root)
      const found = await recursive(directories, root.digest)
      assert.equal(found[0], root.digest.hex, 'the root comes first')
      assert.deepEqual(found.toSorted(), digestsOf(closure).toSorted())
    },
  }
}

function order(
  title: string,
  closure: readonly Directory[],
  expected: readonly Directory[],
): Case<DirectoryService> {
  return {
    title: `walks ${title} breadth first in entry order, each directory once`,
    async run(directories) {
      await upload(directories, closure)
      assert.deepEqual(await recursive(directories, expected[0]!.digest), digestsOf(expected))
    },
  }
}

function refuses(title: string, closure: readonly Directory[]): Case<DirectoryService> {
  return {
    title: `refuses ${title}, and its root stays absent`,
    async run(directories) {
      await assertFails(upload(directories, closure), 'invalid-argument')
      for (const directory of closure.slice(-1)) await assertAbsent(directories, directory)
    },
  }
}

function wide(entries: number): Directory {
  return makeDirectory(
    Object.fromEntries(Array.from({ length: entries }, (_, i) => [`n${i}`, fileNode(`${i}`)])),
  )
}

function manyChildren(count: number): Directory[] {
  const children = Array.from({ length: count }, (_, i) => leaf(`child ${i}`))
  return [
    ...children,
    makeDirectory(Object.fromEntries(children.map((child, i) => [`d${i}`, directoryNode(child)]))),
  ]
}

const binaryNames = () => [
  Directory.from([
    entry(Buffer.from([0xff, 0xfe]), fileNode('not UTF-8')),
    entry(Buffer.from('\n\x1b[31m'), symlinkNode(Buffer.from([0x80, 0x0a]))),
    entry(Buffer.alloc(255, 0xc3), { kind: 'symlink', target: symlinkTarget(Buffer.alloc(4095, 0xe9)) }),
  ]),
]

const vectorOrders = Object.entries<string[]>(vectors.directory_order.recursive_get_order).map(
  ([name, expected]) => {
    const directories = expected.map((each) => vectorDirectory(each))
    // Every vector lists its directories so that, reversed, children may come after parents: put leaves first.
    const leavesFirst = directories.toSorted((a, b) => Number(a.size('rust') - b.size('rust')))
    return order(`the vector ${name}`, leavesFirst, directories)
  },
)

const readingCases: readonly Case<DirectoryService>[] = [
  {
    title: 'has nothing that was never stored',
    run: (directories) => assertAbsent(directories, COMPLICATED),
  },
  {
    title: 'has no empty directory before one is stored',
    run: (directories) => assertAbsent(directories, A),
  },
  {
    title: 'stores and gives back a single leaf',
    async run(directories) {
      assert.equal((await directories.put(WITH_KEEP)).hex, WITH_KEEP.digest.hex)
      await assertHolds(directories, WITH_KEEP)
      assert.deepEqual(await recursive(directories, WITH_KEEP.digest), digestsOf([WITH_KEEP]))
    },
  },
  {
    title: 'stores the empty directory, whose encoding has no bytes',
    async run(directories) {
      assert.equal((await directories.put(A)).hex, A.digest.hex)
      await assertHolds(directories, A)
      assert.deepEqual(await recursive(directories, A.digest), digestsOf([A]))
    },
  },
  {
    title: 'tells two directories apart',
    async run(directories) {
      await directories.put(leaf('one'))
      await directories.put(leaf('two'))
      await assertHolds(directories, leaf('one'))
      await assertHolds(directories, leaf('two'))
      await assertAbsent(directories, leaf('three'))
    },
  },
  {
    title: 'takes the same directory twice',
    async run(directories) {
      await directories.put(WITH_KEEP)
      await directories.put(WITH_KEEP)
      await assertHolds(directories, WITH_KEEP)
    },
  },
  {
    title: 'answers every one of 64 concurrent puts of one directory',
    async run(directories) {
      const puts = Array.from({ length: 64 }, () => directories.put(WITH_KEEP))
      for (const digest of await Promise.all(puts)) assert.equal(digest.hex, WITH_KEEP.digest.hex)
      await assertHolds(directories, WITH_KEEP)
    },
  },
  {
    title: 'finds directories inside an uploaded closure one by one',
    async run(directories) {
      await upload(directories, [A, B, D, E])
      for (const directory of [A, B, D, E]) await assertHolds(directories, directory)
    },
  },
  {
    title: 'walks from a directory inside an uploaded closure',
    async run(directories) {
      await upload(directories, [A, B, D, E])
      assert.deepEqual(await recursive(directories, D.digest), digestsOf([D, A, B]))
      assert.deepEqual(await recursive(directories, B.digest), digestsOf([B, A]))
    },
  },
  {
    title: 'survives a walk that is left early',
    async run(directories) {
      const closure = manyChildren(100)
      await upload(directories, closure)
      for await (const directory of directories.getRecursive(closure.at(-1)!.digest)) {
        assert.equal(directory.digest.hex, closure.at(-1)!.digest.hex)
        break
      }
      assert.equal((await recursive(directories, closure.at(-1)!.digest)).length, 101)
    },
  },
  {
    title: 'serves several walks of one closure at once',
    async run(directories) {
      await upload(directories, [A, B, D, E])
      const walks = await Promise.all(Array.from({ length: 8 }, () => recursive(directories, E.digest)))
      for (const walk of walks) assert.deepEqual(walk, digestsOf([E, D, A, B]))
    },
  },
]

const uploadCases: readonly Case<DirectoryService>[] = [
  roundTrip('an upload of one directory', () => [WITH_KEEP]),
  roundTrip('a directory with all three kinds of nodes', () => [WITH_KEEP, COMPLICATED]),
  roundTrip('names and targets that are no text', binaryNames),
  roundTrip('a directory of 10,000 entries', () => [wide(10_000)]),
  roundTrip('a directory with 300 sub-directories', () => manyChildren(300)),
  roundTrip('directories nested 300 deep', () => chain(300)),
  roundTrip('sizes by the documented formula', () =>
    ['A', 'B', 'D', 'E'].map((name) => vectorDirectory(name, 'documented')),
  ),
  roundTrip('one closure with a formula for each edge', () => {
    const inner = [A, makeDirectory({ a: directoryNode(A), f: fileNode('f') })]
    const root = {
      rust: directoryNode(inner[1]!, 'rust'),
      documented: directoryNode(inner[1]!, 'documented'),
    }
    return [...inner, makeDirectory(root)]
  }),
  order('a directory that refers to one child twice', [A, C], [C, A]),
  order('a closure whose root goes up after a duplicate', [A, A, C], [C, A]),
  order('a diamond', [A, B, D], [D, A, B]),
  ...vectorOrders,
  {
    title: 'takes the root twice and still knows it',
    async run(directories) {
      assert.equal((await upload(directories, [A, C, C, A])).hex, C.digest.hex)
    },
  },
  {
    title: 'takes the same closure again',
    async run(directories) {
      await upload(directories, [A, B, D])
      assert.equal((await upload(directories, [A, B, D])).hex, D.digest.hex)
      assert.deepEqual(await recursive(directories, D.digest), digestsOf([D, A, B]))
    },
  },
  {
    title: 'takes closures that overlap',
    async run(directories) {
      await upload(directories, [A, B])
      await upload(directories, [A, B, D])
      await upload(directories, [A, C])
      for (const directory of [A, B, C, D]) await assertHolds(directories, directory)
    },
  },
  {
    title: 'keeps 16 concurrent uploads apart',
    async run(directories) {
      const closures = Array.from({ length: 16 }, (_, i) => chain(5, `chain ${i}`))
      const roots = await Promise.all(closures.map((closure) => upload(directories, closure)))
      for (const [i, root] of roots.entries())
        assert.deepEqual(await recursive(directories, root), digestsOf(closures[i]!.toReversed()))
    },
  },
  {
    title: 'shows nothing of an upload that was not closed',
    async run(directories) {
      const putter = directories.startPutter()
      await putter.put(leaf('unfinished'))
      await putter.put(makeDirectory({ d: directoryNode(leaf('unfinished')) }))
      await assertAbsent(directories, leaf('unfinished'))
      await assertFails(upload(directories, []), 'invalid-argument')
      await putter.close()
      await assertHolds(directories, leaf('unfinished'))
    },
  },
  refuses('an upload of two roots', [A, C, B]),
  refuses('a reference to what was not sent', [B]),
  refuses('a parent before its child', [B, A]),
  refuses('a wrong size', [A, BROKEN_PARENT]),
  {
    title: 'refuses an empty upload',
    run: (directories) => assertFails(upload(directories, []), 'invalid-argument'),
  },
  {
    title: 'refuses a reference to what was stored before, but not sent',
    async run(directories) {
      await directories.put(A)
      await assertFails(upload(directories, [B]), 'invalid-argument')
    },
  },
  {
    title: 'goes on working after a refused upload',
    async run(directories) {
      await assertFails(upload(directories, [A, BROKEN_PARENT]), 'invalid-argument')
      await upload(directories, [A, B, D])
      assert.deepEqual(await recursive(directories, D.digest), digestsOf([D, A, B]))
    },
  },
]

const abortCases: readonly Case<DirectoryService>[] = [
  {
    title: 'ends an aborted get',
    async run(directories) {
      await directories.put(A)
      await assertFails(directories.get(A.digest, aborted()), 'cancelled')
    },
  },
  {
    title: 'ends an aborted put and stores nothing',
    async run(directories) {
      await assertFails(directories.put(WITH_KEEP, aborted()), 'cancelled')
      await assertAbsent(directories, WITH_KEEP)
    },
  },
  {
    title: 'ends an aborted walk',
    async run(directories) {
      await upload(directories, [A, B, D])
      await assertFails(drain(directories.getRecursive(D.digest, aborted())), 'cancelled')
    },
  },
  {
    title: 'ends a walk that is aborted on its way',
    async run(directories) {
      const closure = chain(300)
      await upload(directories, closure)
      const controller = new AbortController()
      const walk = async () => {
        for await (const _ of directories.getRecursive(closure.at(-1)!.digest, { signal: controller.signal }))
          controller.abort(new StoreError('cancelled', 'the test aborts'))
      }
      await assertFails(walk(), 'cancelled')
    },
  },
  {
    title: 'ends an aborted upload and stores nothing',
    async run(directories) {
      const controller = new AbortController()
      const putter = directories.startPutter({ signal: controller.signal })
      await putter.put(leaf('aborted'))
      controller.abort(new StoreError('cancelled', 'the test aborts'))
      await assertFails(putter.close(), 'cancelled')
      await assertAbsent(directories, leaf('aborted'))
    },
  },
]

export const directoryServiceCases: readonly Case<DirectoryService>[] = [
  ...readingCases,
  ...uploadCases,
  ...abortCases,
]

const oneByOne: Case<DirectoryService> = {
  title: 'stores a closure directory by directory',
  async run(directories) {
    for (const directory of [A, B, D]) await directories.put(directory)
    assert.deepEqual(await recursive(directories, D.digest), digestsOf([D, A, B]))
  },
}

export const singlePutCases: Readonly<
  Record<DirectoryServiceProperties['singlePuts'], readonly Case<DirectoryService>[]>
> = {
  any: [
    oneByOne,
    {
      title: 'calls a closure with a hole corrupt, not absent or complete',
      async run(directories) {
        await directories.put(D)
        await directories.put(A)
        await assertFails(recursive(directories, D.digest), 'corrupt')
      },
    },
  ],
  forgotten: [
    oneByOne,
    {
      title: 'has either all of a closure or nothing',
      async run(directories) {
        await directories.put(D)
        await directories.put(A)
        assert.deepEqual(await recursive(directories, D.digest), [])
        assert.ok(await directories.get(A.digest))
      },
    },
  ],
  leaves: [
    {
      title: 'refuses to store a directory without its sub-directories',
      async run(directories) {
        await assertFails(directories.put(B), 'invalid-argument')
        await assertAbsent(directories, B)
      },
    },
  ],
}
