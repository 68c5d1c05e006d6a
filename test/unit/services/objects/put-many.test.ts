import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { describe, expect, it, test } from 'vitest'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { type FileOps, nodeFileOps } from '../../../../src/services/objects/file-ops.ts'
import type { NewObject } from '../../../../src/services/objects/interface.ts'
import { OUTCOME } from '../../../../src/services/objects/native-files.ts'
import { collect } from '../../../support/collect.ts'
import { CAN_MOUNT } from '../../../support/requirements.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import { bodyOf } from './kill-body.ts'

const { batches } = nodeFileOps

/** How batches are made durable. */
const MODES: Readonly<Record<string, FileOps>> = {
  together: { ...nodeFileOps, maySyncTogether: async () => true, unwrittenBytes: () => 0 },
  'one by one': { ...nodeFileOps, maySyncTogether: async () => false },
  'together, until syncfs fails': {
    ...nodeFileOps,
    maySyncTogether: async () => true,
    unwrittenBytes: () => 0,
    syncFileSystem: () => Promise.reject(Object.assign(new Error('EIO: injected'), { code: 'EIO' })),
  },
  'together, until others write much': changingOps(),
}

/** Others write much every other time that it is asked about: what was begun together cannot be ended so. */
function changingOps(): FileOps {
  let asked = 0
  const unwrittenBytes = () => (asked++ % 2 === 0 ? 0 : Number.MAX_SAFE_INTEGER)
  return { ...nodeFileOps, maySyncTogether: async () => true, unwrittenBytes }
}

const KEYS = Array.from({ length: 200 }, (_, i) => `chunks/b3/${i % 61}/${i}`)
const OBJECTS: readonly NewObject[] = KEYS.map((key) => ({ key, body: bodyOf(key).subarray(0, 9_000) }))
const EMPTY = Array.from({ length: 100 }, (_, i) => ({
  key: `blobs/b3/${i % 61}/${i}`,
  body: new Uint8Array(0),
}))

async function leftovers(root: string): Promise<string[]> {
  return await fs.readdir(join(root, '.tmp')).catch(() => [])
}

describe.skipIf(!batches).each(Object.entries(MODES))('many objects at once, synced %s,', (_, ops) => {
  it('are there when it resolves, as they are or as zstd frames', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    const frames = OBJECTS.map(({ key, body }) => ({ key: `z${key}`, body }))
    const errors = await Promise.all([
      store.putMany!(OBJECTS),
      store.putMany!(frames, { zstd: true }),
      store.putMany!(EMPTY),
    ])
    expect(errors.flat().filter(Boolean)).toEqual([])
    for (const { key, body } of OBJECTS) {
      expect(Buffer.compare((await store.get(key))!, body), key).toBe(0)
      expect(Buffer.compare(zstdDecompressSync((await store.get(`z${key}`))!), body), key).toBe(0)
    }
    const mixed = [...frames.slice(0, 20), ...EMPTY.slice(0, 20)].map(({ key, body }) => ({
      key: `m${key}`,
      body,
    }))
    expect((await store.putMany!(mixed, { zstd: true })).filter(Boolean)).toEqual([])
    for (const { key } of EMPTY.slice(0, 20)) expect(await store.head(`m${key}`)).toBe(0)
    for (const { key } of EMPTY) expect(await store.head(key)).toBe(0)
    expect(await leftovers(dir.path)).toEqual([])
  })

  it('leave those as they are that are there', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    const there = OBJECTS.filter((_, i) => i % 3 === 0)
    for (const { key } of there) await store.put(key, Buffer.from('first'))
    await store.put(EMPTY[5]!.key, Buffer.from('first'))
    expect((await store.putMany!(OBJECTS)).filter(Boolean)).toEqual([])
    expect((await store.putMany!(EMPTY)).filter(Boolean)).toEqual([])
    for (const [i, { key, body }] of OBJECTS.entries())
      expect((await store.get(key))?.length, key).toBe(i % 3 === 0 ? 5 : body.length)
    expect(await store.head(EMPTY[5]!.key)).toBe(5)
    expect(await leftovers(dir.path)).toEqual([])
  })

  it('may be the same ones for several callers, also within one batch', async () => {
    await using dir = await tempDir()
    const [one, two] = [await openFileObjectStore(dir.path, ops), await openFileObjectStore(dir.path, ops)]
    const [first] = OBJECTS
    const all = await Promise.all([
      one.putMany!([...OBJECTS, first!]),
      one.putMany!(OBJECTS),
      two.putMany!(OBJECTS),
      one.put(first!.key, first!.body, { ifAbsent: true }),
      one.putMany!(OBJECTS.slice(0, 3)),
    ])
    expect(all.flat().filter(Boolean)).toEqual([])
    expect(await collect(one.list('chunks/'))).toHaveLength(OBJECTS.length)
  })

  it('fail each for itself, with a name and a reason', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    // A file where a folder is needed, and a folder where a file is needed.
    await store.put('chunks/b3/7', Buffer.from('in the way'))
    await fs.mkdir(join(dir.path, KEYS[8]!), { recursive: true })
    await fs.mkdir(join(dir.path, EMPTY[9]!.key), { recursive: true })
    const blocked = (key: string) => key.startsWith('chunks/b3/7/') || key === KEYS[8]
    for (const [i, error] of (await store.putMany!(OBJECTS)).entries()) {
      if (blocked(KEYS[i]!)) expect(error?.message).toContain(KEYS[i])
      else expect(error, KEYS[i]).toBeUndefined()
    }
    const failed = (await store.putMany!(EMPTY)).flatMap((error, i) => (error ? [i] : []))
    expect(failed).toEqual([9])
    expect(await leftovers(dir.path)).toEqual([])
  })

  it('make folders again that somebody removed', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    await store.putMany!(OBJECTS)
    await fs.rm(join(dir.path, 'chunks'), { recursive: true })
    await fs.rm(join(dir.path, '.tmp'), { recursive: true })
    // What is put one by one may be told to try again, as a single put is.
    for (const error of await store.putMany!(OBJECTS))
      if (error) expect(error).toMatchObject({ code: 'unavailable' })
    expect((await store.putMany!(OBJECTS)).filter(Boolean)).toEqual([])
    for (const { key, body } of OBJECTS) expect(await store.head(key)).toBe(body.length)
  })

  it('are told to be unavailable when the whole store is gone', async () => {
    await using dir = await tempDir()
    const root = join(dir.path, 'store')
    const store = await openFileObjectStore(root, ops)
    await store.putMany!(OBJECTS)
    await fs.rm(root, { recursive: true })
    const result = await store.putMany!(
      OBJECTS.map(({ key, body }) => ({ key: `again/${key}`, body })),
    ).catch((error) => [error])
    for (const error of result) expect(error).toMatchObject({ code: 'unavailable' })
  })

  it('are not begun for somebody who has left, nor under names that are no keys', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    await expect(store.putMany!(OBJECTS, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    })
    const escaping = [...OBJECTS, { key: '../outside', body: Buffer.from('x') }]
    await expect(store.putMany!(escaping)).rejects.toMatchObject({ code: 'internal' })
    const tooLong = OBJECTS.map(({ key, body }) => ({ key: `${'long/'.repeat(200)}${key}`, body }))
    for (const error of await store.putMany!(tooLong)) expect(error).toBeDefined()
    const longName = OBJECTS.map(({ key, body }) => ({ key: `${key}-${'n'.repeat(300)}`, body }))
    for (const error of await store.putMany!(longName)) expect(error?.message).toContain('ENAMETOOLONG')
    expect(await collect(store.list(''))).toEqual([])
  })

  it('are not seen by head before they are durable', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path, ops)
    let isResolved = false
    const putting = store.putMany!(OBJECTS).then(() => {
      isResolved = true
    })
    expect(await store.head(KEYS[100]!)).toBe(OBJECTS[100]!.body.length)
    await putting
    expect(isResolved).toBe(true)
  })
})

describe.skipIf(!batches)('a batch', () => {
  /** What it does, in order. `lost`: a step that is not done, as a negative control. */
  async function stepsOf(root: string, objects: readonly NewObject[], mode: FileOps): Promise<string[]> {
    const steps: string[] = []
    const note =
      <A extends unknown[], R>(name: string, call: (...args: A) => Promise<R>) =>
      async (...args: A): Promise<R> => {
        steps.push(`${name} begins`)
        const result = await call(...args)
        steps.push(`${name} ends`)
        return result
      }
    const ops: FileOps = {
      ...mode,
      fsync: note('fsync', mode.fsync),
      syncFileSystem: note('syncfs', mode.syncFileSystem),
      batches: {
        writeTemps: (batch, bodies, how) =>
          note(how.isSynced ? 'write and fsync' : 'write', batches!.writeTemps)(batch, bodies, how),
        publish: note('publish', batches!.publish),
        createEmpty: note('create', batches!.createEmpty),
        removeTemps: note('remove', batches!.removeTemps),
        areThere: batches!.areThere,
      },
    }
    const store = await openFileObjectStore(root, ops)
    await store.putMany!(objects)
    steps.push('resolved')
    return steps.filter((step, i) => step !== steps[i - 1])
  }

  it('syncs contents before their names are there, and names before it resolves', async () => {
    await using dir = await tempDir()
    expect(await stepsOf(dir.path, OBJECTS, MODES['together']!)).toEqual([
      ...['write begins', 'write ends', 'syncfs begins', 'syncfs ends'],
      ...['publish begins', 'publish ends', 'syncfs begins', 'syncfs ends', 'resolved'],
    ])
    expect(await stepsOf(dir.path, EMPTY, MODES['together']!)).toEqual([
      ...['create begins', 'create ends', 'syncfs begins', 'syncfs ends', 'resolved'],
    ])
  })

  it('does so one by one where syncfs is not to be had', async () => {
    await using dir = await tempDir()
    const steps = await stepsOf(dir.path, OBJECTS, MODES['one by one']!)
    expect(steps.slice(0, 5)).toEqual([
      ...['write and fsync begins', 'write and fsync ends', 'publish begins', 'publish ends', 'fsync begins'],
    ])
    expect(steps.at(-1)).toBe('resolved')
    expect(steps).not.toContain('syncfs begins')
  })

  it('writes everything once more when nobody knows what syncfs lost', async () => {
    await using dir = await tempDir()
    const steps = await stepsOf(dir.path, OBJECTS, MODES['together, until syncfs fails']!)
    expect(steps.slice(0, 5)).toEqual([
      ...['write begins', 'write ends', 'syncfs begins', 'remove begins', 'remove ends'],
    ])
    expect(steps).not.toContain('publish begins')
    expect(steps).toContain('fsync ends')
  })

  it('waits for nothing when all is there', async () => {
    await using dir = await tempDir()
    await stepsOf(dir.path, OBJECTS, MODES['together']!)
    const steps = await stepsOf(dir.path, OBJECTS, MODES['together']!)
    expect(steps).not.toContain('syncfs begins')
    expect(steps).not.toContain('fsync begins')
  })

  it.each([
    ['ENOSPC', 'exhausted'],
    ['EACCES', 'denied'],
    ['EROFS', 'precondition'],
    ['EIO', 'unavailable'],
  ] as const)('tells %s of one object as %s', async (code, expected) => {
    await using dir = await tempDir()
    const ops: FileOps = {
      ...MODES['together']!,
      batches: {
        ...batches!,
        async writeTemps(batch, bodies, how) {
          const outcomes = await batches!.writeTemps(batch, bodies, how)
          await batches!.removeTemps({ ...batch, keys: batch.keys.slice(0, 1) }, outcomes.slice(0, 1))
          outcomes[0] = -constants.errno[code]
          return outcomes
        },
      },
    }
    const store = await openFileObjectStore(dir.path, ops)
    const [first, ...others] = await store.putMany!(OBJECTS)
    expect(first).toMatchObject({ code: expected, message: expect.stringContaining(KEYS[0]!) })
    expect(others.filter(Boolean)).toEqual([])
    expect(await store.head(KEYS[0]!)).toBeUndefined()
  })

  it('says of each file whether its folder is new', async () => {
    await using dir = await tempDir()
    const batch = { root: dir.path, keys: ['a/1', 'a/2', 'b/c/3'], temp: '.tmp/t' }
    const outcomes = await batches!.createEmpty(batch)
    const { done, doneInNewFolder, thereAlready } = OUTCOME
    expect([...outcomes]).toEqual([doneInNewFolder, done, doneInNewFolder])
    expect([...(await batches!.createEmpty(batch))]).toEqual([thereAlready, thereAlready, thereAlready])
  })
})

const CHILD = join(import.meta.dirname, 'put-many-child.ts')
const NODE = join(import.meta.dirname, '../../../../node_modules/.bin/node')

test.skipIf(!batches || !CAN_MOUNT)(
  'a disk that becomes full fails the rest, and what was stored is whole',
  async () => {
    await using dir = await tempDir()
    const script = `mount -t tmpfs -o size=4m full ${dir.path} && ${NODE} ${CHILD} ${dir.path}/store 4 && mv ${dir.path}/store/.tmp ${dir.path}/store/left && cp -r ${dir.path}/store ${dir.path}-copy`
    const output = execFileSync('unshare', ['-m', 'sh', '-ec', script], { encoding: 'utf8' })
    try {
      const verdicts: [string, string][] = output
        .trim()
        .split('\n')
        .flatMap((line) => JSON.parse(line))
      const stored = verdicts.filter(([, verdict]) => verdict === 'stored')
      expect(stored.length).toBeGreaterThan(5)
      expect(new Set(verdicts.map(([, verdict]) => verdict))).toEqual(new Set(['stored', 'exhausted']))
      for (const [key] of stored) {
        const frame = await fs.readFile(join(`${dir.path}-copy`, key))
        expect(Buffer.compare(zstdDecompressSync(frame), bodyOf(key)), key).toBe(0)
      }
      expect(await fs.readdir(join(`${dir.path}-copy`, 'left'))).toEqual([])
    } finally {
      await fs.rm(`${dir.path}-copy`, { recursive: true, force: true })
    }
  },
)

test.skipIf(!batches)('killed at any time, it leaves whole objects and all that it promised', async () => {
  await using dir = await tempDir()
  const promised: string[] = []
  for (let round = 0; round < 8; round++) {
    const child = spawn(NODE, [CHILD, dir.path, '1000', String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const exited = once(child, 'exit')
    let output = ''
    for await (const text of child.stdout) {
      output += text
      if (output.split('\n').length > 1 + round) child.kill('SIGKILL')
    }
    await exited
    for (const line of output.split('\n').slice(0, -1))
      promised.push(...(JSON.parse(line) as [string, string][]).map(([key]) => key))
  }
  const store = await openFileObjectStore(dir.path)
  const keys = await collect(store.list(''))
  expect(keys).toEqual(expect.arrayContaining(promised))
  expect(promised.length).toBeGreaterThan(100)
  for (const key of keys) {
    const frame = (await store.get(key))!
    expect(Buffer.compare(zstdDecompressSync(frame), bodyOf(key)), `${dirname(key)} ${key}`).toBe(0)
  }
})

test('without the addon there are no batches, and everything else', async () => {
  await using dir = await tempDir()
  const store = await openFileObjectStore(dir.path, { ...nodeFileOps, batches: undefined })
  expect(store.putMany).toBeUndefined()
  await store.put(KEYS[0]!, OBJECTS[0]!.body)
  expect(await store.head(KEYS[0]!)).toBe(OBJECTS[0]!.body.length)
})
