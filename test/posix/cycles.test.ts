/** Mounting, reading and unmounting 200 times in one process leaves nothing behind: no descriptor, thread, mount or memory. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { localStoreFlags, runOk, TVIX_STORE } from '../support/cli.ts'
import type { Held } from '../support/held.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeSourceTree } from '../support/source-tree.ts'

const CYCLES = 200
/** Code that is compiled later, and what V8 notes about it; a forgotten mount keeps a megabyte of buffers. */
const KILOBYTES_MORE_MAX = 4_096

const CHILD = join(import.meta.dirname, '../support/mount-cycles.ts')
const reason = whyNoMounts()

describe.skipIf(reason)(`mounting ${CYCLES} times${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let folder: string
  let namespace: MountNamespace
  let target: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-cycles-'))
    makeSourceTree(join(folder, 'source'))
    await runOk(TVIX_STORE, ['import', ...localStoreFlags(folder), join(folder, 'source')])
    namespace = await MountNamespace.create()
    target = await namespace.directory('mnt')
  })
  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function hold(cycles: number, ...leak: string[]): Promise<[Held, Held]> {
    const args = ['--expose-gc', '--disable-warning=DEP0123', CHILD, folder, target, String(cycles), ...leak]
    const { status, stdout, stderr } = await namespace.run(process.execPath, ...args)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const [before, after] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Held)
    return [before!, after!]
  }

  it('leaves nothing behind', { timeout: 180_000 }, async () => {
    const [before, after] = await hold(CYCLES)
    console.info(`after 20: ${JSON.stringify(before)}; after ${CYCLES}: ${JSON.stringify(after)}`)
    expect({ ...after, kilobytes: 0 }).toEqual({ ...before, kilobytes: 0 })
    expect(after.kilobytes - before.kilobytes).toBeLessThan(KILOBYTES_MORE_MAX)
  })

  it('control: a descriptor that stays open is seen', { timeout: 60_000 }, async () => {
    const [before, after] = await hold(30, 'leak')
    expect(after.descriptors).toBe(before.descriptors + 10)
  })
})
