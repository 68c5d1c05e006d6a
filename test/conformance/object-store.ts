/** What every ObjectStore promises (src/services/objects/interface.ts), one case a promise. */
import assert from 'node:assert/strict'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { StoreError } from '../../src/support/errors.ts'
import { collect } from '../support/collect.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { type Case, type Make, runCases } from './suite.ts'

export function objectStoreSuite(name: string, make: Make<ObjectStore>): void {
  runCases(name, objectStoreCases, make)
}

const KEY = 'blobs/b3/af13/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262'
const OTHER = 'blobs/b3/af13/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3263'
const BODY = pseudoRandom(1000, 1)
const NOTHING = new Uint8Array(0)

function fannedOut(prefix: string, digest: Uint8Array): string {
  const digits = Buffer.from(digest).toString('hex')
  return `${prefix}/${digits.slice(0, 4)}/${digits}`
}

/** As the store says of all together, or of each. */
async function foundBelow(store: ObjectStore, prefix: string, digests: Uint8Array[]): Promise<number[]> {
  if (store.hasBelow) return [...(await store.hasBelow(prefix, Buffer.concat(digests)))]
  const sizes = await Promise.all(digests.map((digest) => store.head(fannedOut(prefix, digest))))
  return sizes.map((size) => (size === undefined ? 0 : 1))
}

async function assertBody(store: ObjectStore, key: string, body: Uint8Array): Promise<void> {
  const found = await store.get(key)
  assert.ok(found, `${key} is absent`)
  assert.equal(Buffer.compare(found, body), 0, `contents of ${key}`)
  assert.equal(await store.head(key), body.length)
}

async function listed(store: ObjectStore, prefix: string): Promise<string[]> {
  return (await collect(store.list(prefix))).sort()
}

async function assertCancelled(work: Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error) => error instanceof StoreError && error.code === 'cancelled')
}

function roundTrip(title: string, body: Uint8Array): Case<ObjectStore> {
  return {
    title: `gives back ${title}`,
    async run(store) {
      await store.put(KEY, body)
      await assertBody(store, KEY, body)
    },
  }
}

function ranged(title: string, start: number, end: number): Case<ObjectStore> {
  return {
    title: `reads ${title}`,
    async run(store) {
      await store.put(KEY, BODY)
      const part = await store.get(KEY, { range: { start, end } })
      assert.ok(part, 'absent')
      assert.deepEqual(Buffer.from(part), Buffer.from(BODY.subarray(start, end)))
    },
  }
}

function refusedRange(title: string, start: number, end: number): Case<ObjectStore> {
  return {
    title: `refuses a range that ${title}`,
    async run(store) {
      await store.put(KEY, BODY)
      await assert.rejects(store.get(KEY, { range: { start, end } }), StoreError)
    },
  }
}

const readingCases: readonly Case<ObjectStore>[] = [
  {
    title: 'gets no absent object',
    run: async (store) => assert.equal(await store.get(KEY), undefined),
  },
  {
    title: 'has no size for an absent object',
    run: async (store) => assert.equal(await store.head(KEY), undefined),
  },
  {
    title: 'gets no part of an absent object',
    run: async (store) => assert.equal(await store.get(KEY, { range: { start: 0, end: 1 } }), undefined),
  },
  {
    title: 'tells an object from what its key begins with or goes on with',
    async run(store) {
      await store.put(KEY, BODY)
      for (const key of ['blobs', 'blobs/b3', 'blobs/b3/af13', `${KEY}/more`, KEY.slice(0, -1), `${KEY}0`]) {
        assert.equal(await store.head(key), undefined, key)
        assert.equal(await store.get(key), undefined, key)
      }
    },
  },
  {
    title: 'says of many objects which there are, if it says that at all',
    async run(store) {
      const digests = Array.from({ length: 50 }, (_, i) => pseudoRandom(32, i + 1))
      const keys = digests.map((digest) => fannedOut('blobs/b3', digest))
      const there = keys.map((_, i) => (i % 3 === 0 ? 1 : 0))
      for (const [i, key] of keys.entries()) if (there[i]) await store.put(key, i === 0 ? NOTHING : BODY)
      // Its name is right, and its place is not.
      await store.put(keys[1]!.replace('blobs', 'chunks'), BODY)
      assert.deepEqual(await foundBelow(store, 'blobs/b3', digests), there)
      await store.delete(keys[3]!)
      assert.deepEqual(await foundBelow(store, 'blobs/b3', digests.slice(1, 5)), [0, 0, 0, 0])
      assert.deepEqual(await foundBelow(store, 'chunks/b3', digests.slice(0, 3)), [0, 1, 0])
      assert.deepEqual(await foundBelow(store, 'never/b3', digests.slice(0, 1)), [0])
    },
  },
  ranged('everything', 0, BODY.length),
  ranged('nothing', 10, 10),
  ranged('the first byte', 0, 1),
  ranged('the last byte', BODY.length - 1, BODY.length),
  ranged('the middle', 100, 200),
  ranged('past the end', 900, BODY.length + 1),
  ranged('far past the end', 999, Number.MAX_SAFE_INTEGER),
  ranged('nothing at the end', BODY.length, BODY.length + 5),
  ranged('nothing beyond the end', BODY.length + 1, BODY.length + 5),
  refusedRange('begins before the object', -1, 5),
  refusedRange('runs backwards', 5, 4),
  refusedRange('is no number', 0, Number.NaN),
]

const writingCases: readonly Case<ObjectStore>[] = [
  roundTrip('an empty object', new Uint8Array(0)),
  roundTrip('1 byte', Uint8Array.of(7)),
  roundTrip('1000 bytes', BODY),
  roundTrip('3 MiB', pseudoRandom(3 * 1024 * 1024, 2)),
  {
    title: 'keeps two objects apart',
    async run(store) {
      await store.put(KEY, BODY)
      await store.put(OTHER, Uint8Array.of(1))
      await assertBody(store, KEY, BODY)
      await assertBody(store, OTHER, Uint8Array.of(1))
    },
  },
  {
    title: 'replaces an object',
    async run(store) {
      await store.put(KEY, BODY)
      await store.put(KEY, Uint8Array.of(1, 2))
      await assertBody(store, KEY, Uint8Array.of(1, 2))
    },
  },
  {
    title: 'leaves an object as it is with ifAbsent',
    async run(store) {
      await store.put(KEY, BODY)
      await store.put(KEY, Uint8Array.of(1, 2), { ifAbsent: true })
      await assertBody(store, KEY, BODY)
    },
  },
  {
    title: 'stores what is absent with ifAbsent',
    async run(store) {
      await store.put(KEY, BODY, { ifAbsent: true })
      await assertBody(store, KEY, BODY)
    },
  },
  {
    title: 'stores one object 64 times at once',
    async run(store) {
      const puts = Array.from({ length: 64 }, (_, i) => store.put(KEY, BODY, { ifAbsent: i % 2 === 0 }))
      await Promise.all(puts)
      await assertBody(store, KEY, BODY)
      assert.deepEqual(await listed(store, ''), [KEY])
    },
  },
  {
    title: 'stores 200 objects at once',
    async run(store) {
      const keys = Array.from({ length: 200 }, (_, i) => `chunks/${i % 7}/object-${i}`)
      await Promise.all(keys.map((key, i) => store.put(key, Uint8Array.of(i))))
      for (const [i, key] of keys.entries()) await assertBody(store, key, Uint8Array.of(i))
      assert.deepEqual(await listed(store, ''), keys.sort())
    },
  },
  {
    title: 'shows whole objects or none while they are replaced',
    async run(store) {
      const bodies = [new Uint8Array(50_000).fill(1), new Uint8Array(80_000).fill(2)]
      const writing = (async () => {
        for (let i = 0; i < 20; i++) await store.put(KEY, bodies[i % 2]!)
      })()
      for (let i = 0; i < 50; i++) {
        const found = await store.get(KEY)
        if (found) assert.ok(bodies.some((body) => Buffer.compare(body, found) === 0))
      }
      await writing
    },
  },
  {
    title: 'lets the writer have its memory back',
    async run(store) {
      const memory = Buffer.from(BODY)
      await store.put(KEY, memory)
      memory.fill(0)
      await assertBody(store, KEY, BODY)
    },
  },
  {
    title: 'lets the reader write to what it got',
    async run(store) {
      await store.put(KEY, BODY)
      ;(await store.get(KEY))!.fill(0)
      await assertBody(store, KEY, BODY)
    },
  },
  {
    title: 'refuses keys that lead elsewhere or are none',
    async run(store) {
      for (const key of [
        '',
        '/a',
        'a/',
        'a//b',
        '..',
        '../a',
        'a/../b',
        '.',
        'a/.',
        '.tmp/a',
        'a b',
        'a\0b',
        'ä',
      ])
        for (const call of [
          () => store.put(key, BODY),
          () => store.get(key),
          () => store.head(key),
          () => store.delete(key),
        ])
          await assert.rejects(call, StoreError, JSON.stringify(key))
    },
  },
]

const listingCases: readonly Case<ObjectStore>[] = [
  {
    title: 'lists nothing in an empty store',
    run: async (store) => assert.deepEqual(await listed(store, ''), []),
  },
  {
    title: 'lists the keys with a prefix, wherever it ends',
    async run(store) {
      const keys = ['a', 'ab/c', 'ab/cd', 'ab/cd-e/f', 'b/ab/c']
      for (const key of keys) await store.put(key, BODY)
      const expected: Record<string, string[]> = {
        '': keys,
        a: ['a', 'ab/c', 'ab/cd', 'ab/cd-e/f'],
        ab: ['ab/c', 'ab/cd', 'ab/cd-e/f'],
        'ab/': ['ab/c', 'ab/cd', 'ab/cd-e/f'],
        'ab/cd': ['ab/cd', 'ab/cd-e/f'],
        'ab/cd-e/f': ['ab/cd-e/f'],
        'ab/x': [],
        'x/y/z': [],
        c: [],
      }
      for (const [prefix, found] of Object.entries(expected))
        assert.deepEqual(await listed(store, prefix), found, prefix)
    },
  },
  {
    title: 'lists every object that was there before, once, while others are written',
    async run(store) {
      const keys = Array.from({ length: 50 }, (_, i) => `a/${i % 5}/${i}`)
      for (const key of keys) await store.put(key, BODY)
      const found: string[] = []
      for await (const key of store.list('a/')) {
        found.push(key)
        await store.put(`b/${found.length}`, BODY)
      }
      assert.deepEqual(found.sort(), keys.sort())
    },
  },
  {
    title: 'allows deleting while listing',
    async run(store) {
      for (let i = 0; i < 20; i++) await store.put(`a/${i}`, BODY)
      for await (const key of store.list('')) await store.delete(key)
      assert.deepEqual(await listed(store, ''), [])
    },
  },
  {
    title: 'allows leaving a list early',
    async run(store) {
      for (let i = 0; i < 20; i++) await store.put(`a/${i}`, BODY)
      for await (const _ of store.list('')) break
      assert.equal((await listed(store, '')).length, 20)
    },
  },
  {
    title: 'deletes an object, and only that',
    async run(store) {
      await store.put(KEY, BODY)
      await store.put(OTHER, BODY)
      await store.delete(KEY)
      assert.equal(await store.get(KEY), undefined)
      assert.equal(await store.head(KEY), undefined)
      assert.deepEqual(await listed(store, ''), [OTHER])
    },
  },
  {
    title: 'deletes what is absent',
    async run(store) {
      await store.delete(KEY)
      await store.put(OTHER, BODY)
      await store.delete(KEY)
      await assertBody(store, OTHER, BODY)
    },
  },
  {
    title: 'stores an object again that was deleted',
    async run(store) {
      await store.put(KEY, BODY)
      await store.delete(KEY)
      await store.put(KEY, Uint8Array.of(9), { ifAbsent: true })
      await assertBody(store, KEY, Uint8Array.of(9))
    },
  },
]

const cancellingCases: readonly Case<ObjectStore>[] = [
  {
    title: 'ends every call with an aborted signal as cancelled',
    async run(store) {
      await store.put(OTHER, BODY)
      const signal = AbortSignal.abort(new StoreError('cancelled', 'the test aborts'))
      await assertCancelled(store.get(OTHER, { signal }))
      await assertCancelled(store.head(OTHER, { signal }))
      await assertCancelled(store.put(KEY, BODY, { signal }))
      await assertCancelled(store.put(KEY, BODY, { signal, ifAbsent: true }))
      await assertCancelled(store.delete(OTHER, { signal }))
      await assertCancelled(collect(store.list('', { signal })))
      assert.deepEqual(await listed(store, ''), [OTHER])
    },
  },
  {
    title: 'shows nothing or everything of a put that was aborted in the middle',
    async run(store) {
      const body = pseudoRandom(2 * 1024 * 1024, 3)
      const controller = new AbortController()
      const put = store.put(KEY, body, { signal: controller.signal }).then(
        () => 'stored',
        () => 'failed',
      )
      controller.abort(new StoreError('cancelled', 'the test aborts'))
      await put
      const found = await store.get(KEY)
      if (found) assert.equal(Buffer.compare(found, body), 0)
      await store.put(KEY, body)
      await assertBody(store, KEY, body)
      assert.deepEqual(await listed(store, ''), [KEY])
    },
  },
]

export const objectStoreCases: readonly Case<ObjectStore>[] = [
  ...readingCases,
  ...writingCases,
  ...listingCases,
  ...cancellingCases,
]
