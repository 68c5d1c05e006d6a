import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openFileObjectStore } from '../../src/services/objects/file.ts'
import { nodeFileOps } from '../../src/services/objects/file-ops.ts'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { openPackedObjectStore } from '../../src/services/objects/packs.ts'
import { nodePacksOps as openPacksOps } from '../../src/services/objects/packs-ops.ts'
import { ReadPace } from '../../src/support/read-pace.ts'
import { overriding } from '../support/overriding-objects.ts'
import { tempDir } from '../support/temp-dir.ts'
import { objectStoreCases, objectStoreSuite } from './object-store.ts'
import { brokenCases, nothingToClean } from './suite.ts'

objectStoreSuite('object store: memory', nothingToClean(memoryObjectStore))
for (const [how, isLocal] of Object.entries({ 'on the spot': true, 'in the thread pool': false }))
  objectStoreSuite(`object store: files, read ${how}`, async () => {
    const dir = await tempDir()
    return {
      subject: await openFileObjectStore(join(dir.path, 'store'), nodeFileOps, new ReadPace(isLocal)),
      [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
    }
  })

const nodePacksOps = await openPacksOps()
for (const [how, ops] of Object.entries({
  '': nodePacksOps,
  ', without the addon': { ...nodePacksOps, addon: undefined },
}))
  objectStoreSuite(`object store: packs${how}`, async () => {
    const dir = await tempDir()
    const subject = await openPackedObjectStore(join(dir.path, 'store'), { ops })
    return {
      subject,
      async [Symbol.asyncDispose]() {
        await subject[Symbol.asyncDispose]()
        await dir[Symbol.asyncDispose]()
      },
    }
  })

/** A store in memory with one promise broken. */
type Breakage = (base: ObjectStore) => Partial<ObjectStore>

const breakages: Readonly<Record<string, Breakage>> = {
  'forgets what it was given': () => ({ put: async () => {} }),
  'has everything, when it is asked for many': () => ({
    hasBelow: async (_, digests) => new Uint8Array(digests.length / 32).fill(1),
  }),
  'has nothing, when it is asked for many': () => ({
    hasBelow: async (_, digests) => new Uint8Array(digests.length / 32),
  }),
  'ignores ranges': (base) => ({ get: (key, call) => base.get(key, { signal: call?.signal }) }),
  'counts ranges up to the last byte': (base) => ({
    get: (key, call) =>
      base.get(key, call?.range && { ...call, range: { ...call.range, end: call.range.end + 1 } }),
  }),
  'ignores ifAbsent': (base) => ({ put: (key, body, call) => base.put(key, body, { signal: call?.signal }) }),
  'never replaces': (base) => ({
    put: (key, body, call) => base.put(key, body, { ...call, ifAbsent: true }),
  }),
  'fails to delete what is absent': (base) => ({
    async delete(key) {
      if ((await base.head(key)) === undefined) throw new Error('absent')
      await base.delete(key)
    },
  }),
  'lists everything': (base) => ({ list: (_, call) => base.list('', call) }),
  'lists an object twice': (base) => ({
    async *list(prefix, call) {
      for await (const key of base.list(prefix, call)) yield* [key, key]
    },
  }),
  'says absent when aborted': (base) => ({
    get: (key, call) => base.get(key, call).catch(() => undefined),
  }),
  'ignores signals': (base) => ({ head: (key) => base.head(key) }),
  'tells sizes one too large': (base) => ({
    head: async (key, call) => {
      const size = await base.head(key, call)
      return size === undefined ? undefined : size + 1
    },
  }),
}

describe('the object store suite catches a store that', () => {
  for (const [title, breakage] of Object.entries(breakages))
    it(title, async () => {
      const make = nothingToClean(() => withOverrides(memoryObjectStore(), breakage))
      expect(await brokenCases(objectStoreCases, make)).not.toEqual([])
    })

  it('(and finds nothing wrong with one that is whole)', async () => {
    const make = nothingToClean(() => withOverrides(memoryObjectStore(), () => ({})))
    expect(await brokenCases(objectStoreCases, make)).toEqual([])
  })
})

function withOverrides(base: ObjectStore, breakage: Breakage): ObjectStore {
  return overriding(base, breakage(base))
}
