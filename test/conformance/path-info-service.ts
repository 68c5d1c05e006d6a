/** What every PathInfoService promises (src/services/pathinfos/interface.ts), one case a promise. */
import assert from 'node:assert/strict'
import { Digest } from '../../src/model/castore/digest.ts'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { decodePathInfo, encodePathInfo } from '../../src/model/wire/path-info.ts'
import type { PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { hex } from '../../src/support/bytes.ts'
import { StoreError } from '../../src/support/errors.ts'
import { PATH_INFO_LIST_PAGE } from '../../src/support/limits.ts'
import { symlinkNode } from '../support/directories.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { vectors } from '../support/vectors.ts'
import { type Case, type Make, runCases } from './suite.ts'

/** What differs from one implementation to another. */
export interface PathInfoServiceProperties {
  /** Which of two path infos of one path stays. */
  readonly keeps: 'last' | 'first'
}

export function pathInfoServiceSuite(
  name: string,
  make: Make<PathInfoService>,
  { keeps }: PathInfoServiceProperties = { keeps: 'last' },
): void {
  runCases(name, [...pathInfoServiceCases, ...secondPutCases[keeps]], make)
}

const ONE = makePathInfo('one')
const TWO = makePathInfo('two')
const SIGNATURE = { keyName: 'test-1', bytes: Buffer.alloc(64, 7) }

function assertSame(found: PathInfo | undefined, expected: PathInfo): void {
  assert.ok(found, `absent: ${expected.storePath}`)
  assert.equal(hex(encodePathInfo(found)), hex(encodePathInfo(expected)))
}

async function assertHolds(pathInfos: PathInfoService, expected: PathInfo): Promise<void> {
  assertSame(await pathInfos.get(expected.storePath.digest), expected)
}

async function listed(pathInfos: PathInfoService): Promise<string[]> {
  const found: string[] = []
  for await (const pathInfo of pathInfos.list()) found.push(hex(encodePathInfo(pathInfo)))
  return found.toSorted()
}

function encodingsOf(pathInfos: readonly PathInfo[]): string[] {
  return pathInfos.map((pathInfo) => hex(encodePathInfo(pathInfo))).toSorted()
}

async function assertCancelled(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => error instanceof StoreError && error.code === 'cancelled')
}

function aborted(): { signal: AbortSignal } {
  return { signal: AbortSignal.abort(new StoreError('cancelled', 'the test aborts')) }
}

async function drain(items: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of items);
}

function many(count: number): PathInfo[] {
  return Array.from({ length: count }, (_, i) => makePathInfo(`${i}`))
}

function roundTrip(title: string, pathInfo: PathInfo): Case<PathInfoService> {
  return {
    title: `gives back ${title}`,
    async run(pathInfos) {
      assertSame(await pathInfos.put(pathInfo), pathInfo)
      await assertHolds(pathInfos, pathInfo)
      assert.deepEqual(await listed(pathInfos), encodingsOf([pathInfo]))
    },
  }
}

const roundTrips: readonly Case<PathInfoService>[] = [
  roundTrip('the path info of a file', ONE),
  roundTrip(
    'an executable file',
    makePathInfo('run', {
      node: { kind: 'file', digest: Digest.of(Buffer.from('run')), size: 3n, executable: true },
    }),
  ),
  roundTrip(
    'a directory',
    makePathInfo('dir', {
      node: { kind: 'directory', digest: Digest.of(Buffer.from('dir')), size: 12n },
    }),
  ),
  roundTrip(
    'a symlink whose target is no text',
    makePathInfo('link', { node: symlinkNode(Buffer.from([0xff, 0x2f])) }),
  ),
  roundTrip(
    'references in their order, the path itself among them',
    makePathInfo('refs', {
      references: [TWO.storePath, makePathInfo('refs').storePath, ONE.storePath],
    }),
  ),
  roundTrip(
    'signatures of several keys',
    makePathInfo('signed', {
      signatures: [SIGNATURE, { keyName: 'other-1', bytes: Buffer.alloc(64, 9) }],
    }),
  ),
  roundTrip(
    'a deriver',
    makePathInfo('derived', { deriver: StorePath.fromParts(Buffer.alloc(20, 3), 'derived') }),
  ),
  roundTrip(
    'a content address',
    makePathInfo('fixed', {
      ca: { kind: 'flat', algorithm: 'sha512', digest: Buffer.alloc(64, 5) },
    }),
  ),
  roundTrip('the largest NAR size that the format holds', makePathInfo('huge', { narSize: 2n ** 64n - 1n })),
  roundTrip(
    'a thousand references',
    makePathInfo('wide', { references: many(1_000).map((each) => each.storePath) }),
  ),
  ...vectors.pathinfo.valid.map(({ what, proto_hex }: { what: string; proto_hex: string }) =>
    roundTrip(`the vector: ${what}`, decodePathInfo(Buffer.from(proto_hex, 'hex'))),
  ),
]

const readingCases: readonly Case<PathInfoService>[] = [
  {
    title: 'has nothing that was never stored',
    run: async (pathInfos) => assert.equal(await pathInfos.get(ONE.storePath.digest), undefined),
  },
  {
    title: 'lists nothing at first',
    run: async (pathInfos) => assert.deepEqual(await listed(pathInfos), []),
  },
  {
    title: 'has no path whose hash differs in the last bit',
    async run(pathInfos) {
      await pathInfos.put(ONE)
      const other = Buffer.from(ONE.storePath.digest)
      other[19]! ^= 1
      assert.equal(await pathInfos.get(other), undefined)
    },
  },
  {
    title: 'finds a path by its hash, whatever its name',
    async run(pathInfos) {
      const other = StorePath.fromParts(ONE.storePath.digest, 'another-name')
      await pathInfos.put(makePathInfo('one', { storePath: other }))
      assert.equal((await pathInfos.get(ONE.storePath.digest))?.storePath.name, 'another-name')
    },
  },
  {
    title: 'takes hashes of all zeros and all ones',
    async run(pathInfos) {
      for (const byte of [0, 0xff]) {
        const storePath = StorePath.fromParts(Buffer.alloc(20, byte), 'edge')
        const pathInfo = makePathInfo('edge', { storePath })
        await pathInfos.put(pathInfo)
        await assertHolds(pathInfos, pathInfo)
      }
      assert.equal((await listed(pathInfos)).length, 2)
    },
  },
]

const writingCases: readonly Case<PathInfoService>[] = [
  {
    title: 'leaves other paths alone',
    async run(pathInfos) {
      await pathInfos.put(ONE)
      await pathInfos.put(TWO)
      await pathInfos.put(makePathInfo('two', { narSize: 1n }))
      await assertHolds(pathInfos, ONE)
    },
  },
  {
    title: 'takes the same path info twice',
    async run(pathInfos) {
      await pathInfos.put(ONE)
      await pathInfos.put(ONE)
      assert.deepEqual(await listed(pathInfos), encodingsOf([ONE]))
    },
  },
  {
    title: 'answers every one of 64 concurrent puts of one path info',
    async run(pathInfos) {
      const answers = await Promise.all(Array.from({ length: 64 }, () => pathInfos.put(ONE)))
      for (const answer of answers) assertSame(answer, ONE)
      assert.deepEqual(await listed(pathInfos), encodingsOf([ONE]))
    },
  },
  {
    title: 'keeps concurrent puts of different paths',
    async run(pathInfos) {
      const all = many(100)
      await Promise.all(all.map((pathInfo) => pathInfos.put(pathInfo)))
      for (const pathInfo of all) await assertHolds(pathInfos, pathInfo)
    },
  },
]

const listingCases: readonly Case<PathInfoService>[] = [
  {
    title: 'lists each path once, over more than one page',
    async run(pathInfos) {
      const all = many(2 * PATH_INFO_LIST_PAGE + 1)
      await Promise.all(all.map((pathInfo) => pathInfos.put(pathInfo)))
      assert.deepEqual(await listed(pathInfos), encodingsOf(all))
    },
  },
  {
    title: 'lists exactly one page',
    async run(pathInfos) {
      const all = many(PATH_INFO_LIST_PAGE)
      await Promise.all(all.map((pathInfo) => pathInfos.put(pathInfo)))
      assert.deepEqual(await listed(pathInfos), encodingsOf(all))
    },
  },
  {
    title: 'lists what was there before, while others are stored',
    async run(pathInfos) {
      const before = many(300)
      await Promise.all(before.map((pathInfo) => pathInfos.put(pathInfo)))
      const found: string[] = []
      let stored = 0
      for await (const { storePath } of pathInfos.list()) {
        found.push(storePath.toString())
        if (stored < 50) await pathInfos.put(makePathInfo(`later ${stored++}`.replace(' ', '-')))
      }
      assert.equal(new Set(found).size, found.length, 'a path was listed twice')
      for (const { storePath } of before) assert.ok(found.includes(storePath.toString()), `lost ${storePath}`)
    },
  },
  {
    title: 'survives a listing that is left early',
    async run(pathInfos) {
      await Promise.all(many(10).map((pathInfo) => pathInfos.put(pathInfo)))
      for await (const _ of pathInfos.list()) break
      assert.equal((await listed(pathInfos)).length, 10)
    },
  },
]

const abortCases: readonly Case<PathInfoService>[] = [
  {
    title: 'ends an aborted get',
    async run(pathInfos) {
      await pathInfos.put(ONE)
      await assertCancelled(pathInfos.get(ONE.storePath.digest, aborted()))
    },
  },
  {
    title: 'ends an aborted put and stores nothing',
    async run(pathInfos) {
      await assertCancelled(pathInfos.put(ONE, aborted()))
      assert.equal(await pathInfos.get(ONE.storePath.digest), undefined)
    },
  },
  {
    title: 'ends an aborted listing',
    async run(pathInfos) {
      await pathInfos.put(ONE)
      await assertCancelled(drain(pathInfos.list(aborted())))
    },
  },
  {
    title: 'ends a listing that is aborted on its way',
    async run(pathInfos) {
      await Promise.all(many(300).map((pathInfo) => pathInfos.put(pathInfo)))
      const controller = new AbortController()
      const list = async () => {
        for await (const _ of pathInfos.list({ signal: controller.signal }))
          controller.abort(new StoreError('cancelled', 'the test aborts'))
      }
      await assertCancelled(list())
    },
  },
]

const SIGNED = makePathInfo('one', { signatures: [SIGNATURE] })

export const secondPutCases: Readonly<
  Record<PathInfoServiceProperties['keeps'], readonly Case<PathInfoService>[]>
> = {
  last: [
    {
      title: 'shows what replaced an earlier path info',
      async run(pathInfos) {
        await pathInfos.put(ONE)
        assertSame(await pathInfos.put(SIGNED), SIGNED)
        await assertHolds(pathInfos, SIGNED)
        assert.deepEqual(await listed(pathInfos), encodingsOf([SIGNED]))
      },
    },
  ],
  first: [
    {
      title: 'keeps the first path info of a path, and answers with it',
      async run(pathInfos) {
        await pathInfos.put(ONE)
        assertSame(await pathInfos.put(SIGNED), ONE)
        await assertHolds(pathInfos, ONE)
        assert.deepEqual(await listed(pathInfos), encodingsOf([ONE]))
      },
    },
  ],
}

export const pathInfoServiceCases: readonly Case<PathInfoService>[] = [
  ...roundTrips,
  ...readingCases,
  ...writingCases,
  ...listingCases,
  ...abortCases,
]
