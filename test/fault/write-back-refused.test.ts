/** What a far side refuses holds up nothing but what refers to it, is not forgotten, and goes when it is taken. */
import { join } from 'node:path'
import { afterEach, expect, it, vi } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import { pathComponent } from '../../src/model/castore/path-component.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { writeBackBlobService } from '../../src/services/blobs/write-back.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { writeBackDirectoryService } from '../../src/services/directories/write-back.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { writeBackPathInfoService } from '../../src/services/pathinfos/write-back.ts'
import { openWriteQueue, readQueueState } from '../../src/services/write-queue.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { WRITE_BACK_REFUSED_MS_MIN } from '../../src/support/limits.ts'
import { until } from '../support/cli.ts'
import { faultyBlobs } from '../support/faulty-blobs.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { tempDir } from '../support/temp-dir.ts'

const SOON = () => ({ signal: AbortSignal.timeout(20_000) })

afterEach(() => {
  vi.useRealTimers()
})

/** Near and far of all three services, which outlive the queues that are opened over them. */
function makeSides() {
  const side = (name: string) => ({
    blobs: { name, service: faultyBlobs(memoryBlobService()) },
    directories: { name, service: memoryDirectoryService() },
    pathInfos: { name, service: memoryPathInfoService() },
  })
  return { near: side('near'), far: side('far') }
}

async function openOver(path: string, { near, far }: ReturnType<typeof makeSides>) {
  const queue = await openWriteQueue(path)
  const blobs = writeBackBlobService(near.blobs.service, near.blobs, far.blobs, queue)
  const directories = writeBackDirectoryService(
    near.directories.service,
    near.directories,
    far.directories,
    queue,
  )
  const pathInfos = writeBackPathInfoService(near.pathInfos.service, near.pathInfos, far.pathInfos, queue)
  const putBlob = async (contents: string) => {
    const writer = blobs.openWrite()
    await writer.write(utf8(contents))
    return await writer.close()
  }
  /** A path with one file in a directory in a directory; what it refers to. */
  const putPath = async (
    label: string,
    contents: string,
    references: Parameters<typeof makePathInfo>[1] = {},
  ) => {
    const digest = await putBlob(contents)
    const inner = Directory.from([
      {
        name: pathComponent(utf8(`file-${label}`)),
        node: { kind: 'file', digest, size: BigInt(contents.length), executable: false },
      },
    ])
    const outer = Directory.from([
      { name: pathComponent(utf8('inner')), node: { kind: 'directory', digest: inner.digest, size: 1n } },
    ])
    const putter = directories.startPutter()
    await putter.put(inner)
    await putter.put(outer)
    await putter.close()
    const node = { kind: 'directory', digest: outer.digest, size: 3n } as const
    return await pathInfos.put(makePathInfo(label, { node, ...references }))
  }
  return {
    queue,
    putBlob,
    putPath,
    [Symbol.asyncDispose]: () => queue[Symbol.asyncDispose](),
  }
}

const farHas = async ({ far }: ReturnType<typeof makeSides>, outputHash: Uint8Array) =>
  (await far.pathInfos.service.get(outputHash)) !== undefined

it('sends what comes behind it, and nothing that refers to it', async () => {
  await using folder = await tempDir()
  const path = join(folder.path, 'queue.lmdb')
  const sides = makeSides()
  sides.far.blobs.service.refuses.add(Digest.of(utf8('refused')).key)
  {
    await using store = await openOver(path, sides)
    const bad = await store.putPath('bad', 'refused')
    const good = await store.putPath('good', 'taken')
    const user = await store.putPath('user', 'taken too', { references: [bad.storePath] })
    await store.queue.drained(SOON())
    expect(await farHas(sides, good.storePath.digest)).toBe(true)
    expect(await farHas(sides, bad.storePath.digest)).toBe(false)
    expect(await farHas(sides, user.storePath.digest)).toBe(false)
    // The blob, the directories of its path, its path info, and that of who refers to it.
    expect(store.queue.refused).toBe(4)
    expect(store.queue.refusal).toMatchObject({ code: 'denied' })
    const state = await readQueueState(path, 1)
    expect(state).toMatchObject({ waiting: 0, refused: 4 })
    expect(state!.examples).toEqual([
      {
        name: `blob ${Digest.of(utf8('refused'))}`,
        reason: expect.stringContaining('does not take this one'),
      },
    ])
  }
  {
    // Still refused: it is there after a restart, and is no news.
    await using store = await openOver(path, sides)
    await store.queue.drained(SOON())
    expect(store.queue.refused).toBe(4)
    expect(store.queue.refusal).toBeUndefined()
  }
  sides.far.blobs.service.refuses.clear()
  await using store = await openOver(path, sides)
  await store.queue.drained(SOON())
  expect(store.queue.refused).toBe(0)
  for (const label of ['bad', 'good', 'user'])
    expect(await farHas(sides, makePathInfo(label).storePath.digest), label).toBe(true)
})

it('holds back what refers to it later, also when near had it by then', async () => {
  await using folder = await tempDir()
  const sides = makeSides()
  sides.far.blobs.service.refuses.add(Digest.of(utf8('refused')).key)
  const path = join(folder.path, 'queue.lmdb')
  await using store = await openOver(path, sides)
  await store.putBlob('refused')
  await store.queue.drained(SOON())
  const late = await store.putPath('late', 'refused')
  await store.queue.drained(SOON())
  expect(await farHas(sides, late.storePath.digest)).toBe(false)
  sides.far.blobs.service.refuses.clear()
  // Sent by somebody again: what waits for it goes at once.
  await store.putBlob('refused')
  await store.queue.drained(SOON())
  expect(store.queue.refused).toBe(0)
  expect(await farHas(sides, late.storePath.digest)).toBe(true)
})

it('tries again by itself, however many were refused', { timeout: 60_000 }, async () => {
  await using folder = await tempDir()
  const sides = makeSides()
  const contents = Array.from({ length: 150 }, (_, index) => `refused ${index}`)
  for (const each of contents) sides.far.blobs.service.refuses.add(Digest.of(utf8(each)).key)
  await using store = await openOver(join(folder.path, 'queue.lmdb'), sides)
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  for (const each of contents) await store.putBlob(each)
  await store.queue.drained(SOON())
  expect(store.queue.refused).toBe(150)
  // More of them in a row than one pass tries, if far takes none.
  vi.advanceTimersByTime(WRITE_BACK_REFUSED_MS_MIN)
  await store.queue.drained(SOON())
  expect(store.queue.refused).toBe(150)
  sides.far.blobs.service.refuses.clear()
  vi.advanceTimersByTime(2 * WRITE_BACK_REFUSED_MS_MIN)
  vi.useRealTimers()
  await until(() => store.queue.refused === 0)
  for (const each of contents) expect(await sides.far.blobs.service.has(Digest.of(utf8(each)))).toBe(true)
})
