import fs from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it, test } from 'vitest'
import { type FileObjects, openFileObjectStore } from '../../../../src/services/objects/file.ts'
import { type FileOps, nodeFileOps } from '../../../../src/services/objects/file-ops.ts'
import type { ObjectStore } from '../../../../src/services/objects/interface.ts'
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
  readonly op: keyof FileOps | 'resolved'
  readonly path: string
  readonly to?: string
  /** When it began and ended, as `clock` counts. */
  readonly began: number
  readonly ended: number
}

/** Syncs together wherever that is worthwhile, whatever else this machine writes. */
const TOGETHER: FileOps = { ...nodeFileOps, maySyncTogether: async () => true, unwrittenBytes: () => 0 }
const ONE_BY_ONE: FileOps = { ...nodeFileOps, maySyncTogether: async () => false }

let clock = 0

/** Puts, and notes when it resolved. */
async function put(store: ObjectStore, key: string, steps: Step[]): Promise<void> {
  await store.put(key, BODY)
  steps.push({ op: 'resolved', path: key, began: clock, ended: clock++ })
}

/** The system calls that succeed; a descriptor goes by the path it was opened with. */
function recordingOps(steps: Step[], base: FileOps): FileOps {
  const paths = new Map<number, string>()
  const path = (fd: number) => paths.get(fd)!
  async function record<R>(step: Omit<Step, 'began' | 'ended'>, call: () => Promise<R>): Promise<R> {
    const began = clock++
    const result = await call()
    steps.push({ ...step, began, ended: clock++ })
    return result
  }
  return {
    ...base,
    mkdir: (path) => record({ op: 'mkdir', path }, () => base.mkdir(path)),
    async open(path, flags) {
      const fd = await record({ op: 'open', path }, () => base.open(path, flags))
      paths.set(fd, path)
      return fd
    },
    openFolder(path) {
      const fd = base.openFolder(path)
      paths.set(fd, path)
      return fd
    },
    write: (fd, bytes, offset) =>
      record({ op: 'write', path: path(fd) }, () => base.write(fd, bytes, offset)),
    fsync: (fd) => record({ op: 'fsync', path: path(fd) }, () => base.fsync(fd)),
    rename: (from, to) => record({ op: 'rename', path: from, to }, () => base.rename(from, to)),
    syncFileSystem: (fd) => record({ op: 'syncFileSystem', path: path(fd) }, () => base.syncFileSystem(fd)),
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
    ...nodeFileOps,
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
  const renamed = steps.find(({ op, to }) => op === 'rename' && to === target)
  if (!renamed) return 'not renamed'
  /** Whether a sync of `path` lies wholly after `change`, and before `deadline`. */
  const isSynced = (path: string, change: Step, deadline: number) =>
    steps.some(
      ({ op, path: synced, began, ended }) =>
        (op === 'syncFileSystem' || (op === 'fsync' && synced === path)) &&
        began > change.ended &&
        ended < deadline,
    )
  const written = steps.findLast(({ op, path }) => op === 'write' && path === renamed.path)
  if (!written) return 'not written'
  if (!isSynced(renamed.path, written, renamed.began)) return 'contents not synced before the rename'
  const resolved = steps.find(({ op, path }) => op === 'resolved' && path === key)
  if (!resolved) return 'not resolved'
  const made = steps.filter(({ op, path }) => op === 'mkdir' && target.startsWith(`${path}/`))
  for (const change of [renamed, ...made]) {
    const name = change.to ?? change.path
    if (!isSynced(dirname(name), change, resolved.began)) return `entry of ${name} not synced`
  }
  return undefined
}

describe('a put', () => {
  it('syncs the contents before the rename, and every folder after what was made in it', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const root = join(dir.path, 'a', 'b')
    const store = await openFileObjectStore(root, recordingOps(steps, nodeFileOps))
    await put(store, KEY, steps)
    expect(durabilityFault(steps, root, KEY)).toBeUndefined()
    // It waits for nothing but itself.
    expect(steps.filter(({ op }) => op === 'syncFileSystem')).toEqual([])
    // The root and the one folder above it were created too.
    expect(
      steps.filter(({ op, path }) => op === 'fsync' && [dir.path, join(dir.path, 'a')].includes(path)),
    ).toHaveLength(2)
  })

  it('(negative control) would be caught leaving out any of its steps', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, nodeFileOps))
    await put(store, KEY, steps)
    const needed = steps.filter(({ op }) => op !== 'mkdir' && op !== 'open')
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
    const store = await openFileObjectStore(dir.path, recordingOps(steps, ONE_BY_ONE))
    await Promise.all(Array.from({ length: 100 }, (_, i) => put(store, `a/${i}`, steps)))
    expect(steps.filter(({ op }) => op === 'syncFileSystem')).toEqual([])
    const syncs = steps.filter(({ op, path }) => op === 'fsync' && path === join(dir.path, 'a'))
    expect(syncs.length).toBeLessThan(100)
    for (let i = 0; i < 100; i++) expect(durabilityFault(steps, dir.path, `a/${i}`)).toBeUndefined()
  })
})

/** Begins an object, writes it in pieces, and keeps it; gives it up when that fails. */
async function putInPieces(store: FileObjects, steps: Step[] = []): Promise<void> {
  const object = await store.startObject()
  try {
    for (let start = 0; start < BODY.length; start += 700)
      await object.write(BODY.subarray(start, start + 700))
    await object.keep(KEY)
    steps.push({ op: 'resolved', path: KEY, began: clock, ended: clock++ })
  } finally {
    await object.abort()
  }
}

describe('an object that is written in pieces', () => {
  it('is durable in the same order', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, nodeFileOps))
    await putInPieces(store, steps)
    expect(durabilityFault(steps, dir.path, KEY)).toBeUndefined()
    expect(Buffer.compare((await store.get(KEY))!, BODY)).toBe(0)
  })

  it('(negative control) would be caught leaving out any of its steps', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, nodeFileOps))
    await putInPieces(store, steps)
    const needed = steps.filter(({ op }) => op === 'fsync' || op === 'rename')
    expect(needed.length).toBeGreaterThanOrEqual(5)
    for (const step of needed) {
      const left = steps.filter((other) => other !== step)
      if (step.path === join(dir.path, '.tmp')) continue
      expect(durabilityFault(left, dir.path, KEY), `${step.op} ${step.path}`).toBeDefined()
    }
  })

  it('is whole or absent when any system call fails, and nothing is left of it', async () => {
    let nth = 1
    for (; ; nth++) {
      await using dir = await tempDir()
      const failing = failingOps(nth, 'ENOSPC')
      const failure = await openFileObjectStore(dir.path, failing.ops)
        .then((store) => putInPieces(store))
        .then(
          () => undefined,
          (error: unknown) => error,
        )
      if (failing.count < nth) break
      expect(failure).toMatchObject({ name: 'StoreError', code: 'exhausted' })
      const store = await openFileObjectStore(dir.path)
      const found = await store.get(KEY)
      if (found) expect(Buffer.compare(found, BODY)).toBe(0)
      expect(await fs.readdir(join(dir.path, '.tmp')).catch(() => [])).toEqual([])
    }
    expect(nth).toBeGreaterThan(20)
  })

  it('that is given up leaves nothing', async () => {
    await using dir = await tempDir()
    const store = await openFileObjectStore(dir.path)
    const object = await store.startObject()
    await object.write(BODY)
    await object.abort()
    expect(await collect(store.list(''))).toEqual([])
    expect(await fs.readdir(join(dir.path, '.tmp'))).toEqual([])
  })
})

/** Keys in many folders, as digests are. */
const KEYS = Array.from({ length: 300 }, (_, i) => `chunks/b3/${i % 97}/${i}`)

describe('many puts at the same time', () => {
  it('are made durable together, each in the order of a single one', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, TOGETHER))
    await Promise.all(KEYS.map((key) => put(store, key, steps)))
    for (const key of KEYS) expect(durabilityFault(steps, dir.path, key), key).toBeUndefined()
    expect(steps.filter(({ op }) => op === 'syncFileSystem').length).toBeGreaterThan(1)
    expect(steps.filter(({ op }) => op === 'fsync').length).toBeLessThan(KEYS.length / 2)
  })

  it('(negative control) would be caught without any one sync of a group', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, TOGETHER))
    await Promise.all(KEYS.map((key) => put(store, key, steps)))
    const together = steps.filter(({ op }) => op === 'syncFileSystem')
    for (const lost of together) {
      const left = steps.filter((step) => step !== lost)
      expect(KEYS.some((key) => durabilityFault(left, dir.path, key))).toBe(true)
    }
  })

  it('fail each for itself', async () => {
    await using dir = await tempDir()
    const bad = join(dir.path, KEYS[7]!)
    const ops: FileOps = {
      ...TOGETHER,
      rename: async (from, to) => {
        if (to === bad) throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' })
        await TOGETHER.rename(from, to)
      },
    }
    const store = await openFileObjectStore(dir.path, ops)
    const controller = new AbortController()
    const puts = KEYS.map((key, i) =>
      store.put(key, BODY, i === 9 ? { signal: controller.signal } : undefined),
    )
    controller.abort(new Error('given up'))
    const failed = (await Promise.allSettled(puts)).flatMap(({ status }, i) =>
      status === 'rejected' ? [i] : [],
    )
    expect(failed).toEqual([7, 9])
    expect(await fs.readdir(join(dir.path, '.tmp'))).toEqual([])
  })

  it('lose only the file that the disk lost, when syncfs fails', async () => {
    await using dir = await tempDir()
    const lost = new Set<number>()
    let opened = 0
    const ops: FileOps = {
      ...TOGETHER,
      open: async (path, flags) => {
        const fd = await TOGETHER.open(path, flags)
        lost.delete(fd)
        if (opened++ === 40) lost.add(fd)
        return fd
      },
      fsync: async (fd) => {
        if (lost.has(fd)) throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
        await TOGETHER.fsync(fd)
      },
      syncFileSystem: async () => {
        throw Object.assign(new Error('EIO: injected'), { code: 'EIO' })
      },
    }
    const steps: Step[] = []
    const store = await openFileObjectStore(dir.path, recordingOps(steps, ops))
    const results = await Promise.allSettled(KEYS.map((key) => put(store, key, steps)))
    expect(results.filter(({ status }) => status === 'rejected')).toMatchObject([
      { reason: { name: 'StoreError', code: 'unavailable' } },
    ])
    for (const [i, { status }] of results.entries())
      if (status === 'fulfilled') expect(durabilityFault(steps, dir.path, KEYS[i]!)).toBeUndefined()
  })

  it('do not wait for what other programs have written', async () => {
    await using dir = await tempDir()
    const steps: Step[] = []
    const ops = { ...TOGETHER, unwrittenBytes: () => Number.MAX_SAFE_INTEGER }
    const store = await openFileObjectStore(dir.path, recordingOps(steps, ops))
    await Promise.all(KEYS.map((key) => put(store, key, steps)))
    expect(steps.filter(({ op }) => op === 'syncFileSystem')).toEqual([])
    for (const key of KEYS) expect(durabilityFault(steps, dir.path, key), key).toBeUndefined()
  })

  it('leave no descriptor open', async () => {
    await using dir = await tempDir()
    let open = 0
    const ops: FileOps = {
      ...TOGETHER,
      open: (path, flags) => TOGETHER.open(path, flags).finally(() => open++),
      openFolder: (path) => {
        open++
        return TOGETHER.openFolder(path)
      },
      close: (fd) => {
        open--
        TOGETHER.close(fd)
      },
    }
    const store = await openFileObjectStore(dir.path, ops)
    await Promise.all(KEYS.map((key) => store.put(key, BODY)))
    expect(open).toBe(0)
  })
})

test('syncfs says what is wrong', async () => {
  await expect(nodeFileOps.syncFileSystem(-1)).rejects.toMatchObject({
    code: 'EBADF',
    message: 'EBADF: syncfs',
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
