import fs from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { type FileOps, nodeFileOps } from '../../../../src/services/objects/file-ops.ts'
import type { ErrorCode } from '../../../../src/support/errors.ts'
import { TEMP_FILE_STALE_MS } from '../../../../src/support/limits.ts'
import { ReadPace } from '../../../../src/support/read-pace.ts'
import { collect } from '../../../support/collect.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const KEY = 'chunks/b3/af13/af1349'
const BODY = pseudoRandom(5000, 1)

/** A system call that changes something, with the paths or the file it is about. */
interface Step {
  readonly op: keyof FileOps
  readonly path: string
  readonly to?: string
}

/** The system calls as they succeed, in order; a descriptor goes by the path it was opened with. */
function recordingOps(steps: Step[]): FileOps {
  const paths = new Map<number, string>()
  const path = (fd: number) => paths.get(fd)!
  return {
    ...nodeFileOps,
    async mkdir(path) {
      await nodeFileOps.mkdir(path)
      steps.push({ op: 'mkdir', path })
    },
    async open(path, flags) {
      const fd = await nodeFileOps.open(path, flags)
      paths.set(fd, path)
      return fd
    },
    openFolder(path) {
      const fd = nodeFileOps.openFolder(path)
      paths.set(fd, path)
      return fd
    },
    async write(fd, bytes, offset) {
      const written = await nodeFileOps.write(fd, bytes, offset)
      steps.push({ op: 'write', path: path(fd) })
      return written
    },
    async fsync(fd) {
      await nodeFileOps.fsync(fd)
      steps.push({ op: 'fsync', path: path(fd) })
    },
    async rename(from, to) {
      await nodeFileOps.rename(from, to)
      steps.push({ op: 'rename', path: from, to })
    },
  }
}

/** Fails the `nth` of all calls (from 1) with `code`; `count` tells how many there were. */
function failingOps(nth: number, code: string): { ops: FileOps; readonly count: number } {
  let count = 0
  const fail = () => {
    if (++count === nth) throw Object.assign(new Error(`${code}: injected`), { code })
  }
  const failing =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      fail()
      return call(...args)
    }
  const ops: FileOps = {
    mkdir: failing(nodeFileOps.mkdir),
    open: failing(nodeFileOps.open),
    write: failing(nodeFileOps.write),
    fsync: failing(nodeFileOps.fsync),
    // A close that fails has closed all the same.
    close: (fd) => {
      nodeFileOps.close(fd)
      fail()
    },
    openFolder: (path) => {
      fail()
      return nodeFileOps.openFolder(path)
    },
    rename: failing(nodeFileOps.rename),
    unlink: nodeFileOps.unlink,
  }
  return {
    ops,
    get count() {
      return count
    },
  }
}

/** What a put must have done before it resolves, or a power cut takes something away. `undefined` when all is well. */
function durabilityFault(steps: readonly Step[], root: string, key: string): string | undefined {
  const target = join(root, key)
  const renamed = steps.findIndex(({ op, to }) => op === 'rename' && to === target)
  if (renamed < 0) return 'not renamed'
  const temp = steps[renamed]!.path
  const last = (op: string, path: string) =>
    steps.findLastIndex((step) => step.op === op && step.path === path)
  const written = last('write', temp)
  const synced = last('fsync', temp)
  if (written < 0) return 'not written'
  if (!(written < synced && synced < renamed)) return 'contents not synced before the rename'
  for (const [i, { op, path }] of steps.entries()) {
    const folder = op === 'mkdir' ? path : op === 'rename' && steps[i]!.to === target ? target : undefined
    if (folder && last('fsync', join(folder, '..')) < i) return `entry of ${folder} not synced`
  }
  return undefined
}

describe('a put', () => {
  it('syncs the contents before the rename, and every folder after what was made in it', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const root = join(dir.path, 'a', 'b')
    const store = await openFileObjectStore(root, recordingOps(steps))
    await store.put(KEY, BODY)
    expect(durabilityFault(steps, root, KEY)).toBeUndefined()
    // The root and the one folder above it were created too.
    expect(
      steps.filter(({ op, path }) => op === 'fsync' && [dir.path, join(dir.path, 'a')].includes(path)),
    ).toHaveLength(2)
  })

  it('(negative control) would be caught leaving out any of its steps', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps))
    await store.put(KEY, BODY)
    // The folder of temp files needs no durable entry: what is in it is garbage after a power cut.
    const needed = steps.filter(({ op, path }) => op !== 'mkdir' && !(op === 'fsync' && path === dir.path))
    expect(needed.length).toBeGreaterThanOrEqual(6)
    for (const step of needed)
      expect(
        durabilityFault(
          steps.filter((other) => other !== step),
          dir.path,
          KEY,
        ),
        `${step.op} ${step.path}`,
      ).toBeDefined()
  })

  it('leaves the object whole or absent when any system call fails, and succeeds the next time', async () => {
    let nth = 1
    for (; ; nth++) {
      await using dir = await tempDir()
      const { ops, count } = await putFailing(dir.path, nth, 'ENOSPC', 'exhausted')
      if (count < nth) break
      const store = await openFileObjectStore(dir.path, ops)
      const found = await store.get(KEY)
      if (found) expect(Buffer.compare(found, BODY)).toBe(0)
      expect(await fs.readdir(join(dir.path, '.tmp')).catch(() => [])).toEqual([])
      await store.put(KEY, BODY)
      expect((await store.get(KEY))?.length).toBe(BODY.length)
    }
    expect(nth).toBeGreaterThan(15)
  })

  it('writes on after a short write', async () => {
    await using dir = await tempDir()
    const ops: FileOps = {
      ...nodeFileOps,
      write: (fd, bytes, offset) => nodeFileOps.write(fd, bytes.subarray(0, offset + 700), offset),
    }
    const store = await openFileObjectStore(dir.path, ops)
    await store.put(KEY, BODY)
    expect(Buffer.compare((await store.get(KEY))!, BODY)).toBe(0)
  })

  it('goes on when somebody removed the folders', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path)
    await store.put(KEY, BODY)
    await fs.rm(join(dir.path, 'chunks'), { recursive: true })
    await expect(store.put(KEY, BODY)).rejects.toMatchObject({ code: 'unavailable' })
    await store.put(KEY, BODY)
    expect(await store.head(KEY)).toBe(BODY.length)
  })

  it('is not seen by head before it is durable', async () => {
    await using dir = await tempDir()
    const renamed = Promise.withResolvers<void>()
    const proceed = Promise.withResolvers<void>()
    const ops: FileOps = {
      ...nodeFileOps,
      async rename(from, to) {
        await nodeFileOps.rename(from, to)
        renamed.resolve()
        await proceed.promise
      },
    }
    const store = await openFileObjectStore(dir.path, ops)
    const events: string[] = []
    const put = store.put(KEY, BODY).then(() => events.push('put'))
    await renamed.promise
    const head = store.head(KEY).then((size) => events.push(`head ${size}`))
    proceed.resolve()
    await Promise.all([put, head])
    expect(events).toEqual(['put', `head ${BODY.length}`])
  })

  it('shares folder syncs with the puts beside it', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps))
    await Promise.all(Array.from({ length: 100 }, (_, i) => store.put(`a/${i}`, BODY)))
    const syncs = steps.filter(({ op, path }) => op === 'fsync' && path === join(dir.path, 'a'))
    expect(syncs.length).toBeLessThan(100)
    for (let i = 0; i < 100; i++) expect(durabilityFault(steps, dir.path, `a/${i}`)).toBeUndefined()
  })
})

async function putFailing(root: string, nth: number, code: string, expected: ErrorCode) {
  const failing = failingOps(nth, code)
  try {
    await (await openFileObjectStore(root, failing.ops)).put(KEY, BODY)
    expect(failing.count).toBeLessThan(nth)
  } catch (error) {
    expect(error).toMatchObject({ name: 'StoreError', code: expected })
    expect(String(error)).toContain(KEY)
  }
  return { ops: failing.ops, count: failing.count }
}

describe('a failed system call', () => {
  for (const [code, expected] of [
    ['ENOSPC', 'exhausted'],
    ['EDQUOT', 'exhausted'],
    ['EMFILE', 'exhausted'],
    ['EACCES', 'denied'],
    ['EROFS', 'precondition'],
    ['EIO', 'unavailable'],
    ['EXDEV', 'internal'],
  ] as const)
    it(`${code} is ${expected} and names the object`, async () => {
      await using dir = await tempDir()
      await putFailing(dir.path, 1, code, expected)
    })
})

describe('reading', () => {
  it('gives the event loop its turn, however quick the disk is', async () => {
    await using dir = await tempDir()
    const neverSlow = new ReadPace(true, () => 0)
    const store = await openFileObjectStore(dir.path, nodeFileOps, neverSlow)
    await store.put(KEY, BODY)
    let hadItsTurn = false
    setTimeout(() => {
      hadItsTurn = true
    })
    // Promises alone would keep the loop for ever.
    const deadline = performance.now() + 2_000
    while (!hadItsTurn && performance.now() < deadline) await store.get(KEY)
    expect(hadItsTurn).toBe(true)
  })

  it('takes no failure for absence', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path)
    await store.put('a/b', BODY)
    await fs.symlink('loop', join(dir.path, 'a', 'loop'))
    for (const call of [() => store.get('a/loop'), () => store.head('a/loop')])
      await expect(call()).rejects.toMatchObject({ name: 'StoreError' })
  })

  it('takes a file in the place of a folder for absence', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path)
    await store.put('a', BODY)
    expect(await store.get('a/b')).toBeUndefined()
    expect(await store.head('a/b')).toBeUndefined()
  })

  it('finds what another process stored', async () => {
    await using dir = await tempDir()
    const [one, two] = [await openFileObjectStore(dir.path), await openFileObjectStore(dir.path)]
    await one.put(KEY, BODY)
    expect(Buffer.compare((await two.get(KEY))!, BODY)).toBe(0)
  })
})

describe('temp files', () => {
  it('are removed when they are old, and left when they may be in use', async () => {
    await using dir = await tempDir()
    const [old, fresh] = [join(dir.path, '.tmp', 'old'), join(dir.path, '.tmp', 'fresh')]
    await fs.mkdir(join(dir.path, '.tmp'))
    for (const path of [old, fresh]) await fs.writeFile(path, 'half of an object')
    const past = (Date.now() - TEMP_FILE_STALE_MS) / 1000 - 60
    await fs.utimes(old, past, past)
    const store = await openFileObjectStore(dir.path)
    expect(await fs.readdir(join(dir.path, '.tmp'))).toEqual(['fresh'])
    expect(await collect(store.list(''))).toEqual([])
  })

  it('of other programs are not listed', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path)
    await store.put('a/b', BODY)
    await fs.writeFile(join(dir.path, 'a', 'b#1'), 'staged by the Rust implementation')
    expect(await collect(store.list('a/'))).toEqual(['a/b'])
  })
})

test('cannot be opened where a file is', async () => {
  await using dir = await tempDir()
  await fs.writeFile(join(dir.path, 'file'), '')
  await expect(openFileObjectStore(join(dir.path, 'file', 'store'))).rejects.toMatchObject({
    name: 'StoreError',
  })
})
