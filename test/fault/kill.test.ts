/**
 * kill -9 at any moment of an import: what is visible afterwards is complete, and the next import completes without
 * anybody repairing anything. Moments come from a seed; a failure names it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { hex } from '../../src/support/bytes.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { localStoreFlags, remoteStoreFlags, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { FULL } from '../support/requirements.ts'

const ROUNDS = FULL ? 100 : 6
const FILES = 400
/** About as long as an import takes, start-up included. */
const KILL_WITHIN_MS = 2_500

let folder: string
let source: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tvix-store-kill-'))
  source = join(folder, 'source')
  await mkdir(join(source, 'sub'), { recursive: true })
  for (let i = 0; i < FILES; i++)
    await writeFile(join(source, i % 2 ? 'sub' : '.', `f${i}`), `contents ${i}\n`.repeat(20))
  await writeFile(join(source, 'large'), Buffer.alloc(3_000_000, 'large '))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Renders every path that is visible in the store below `state` and compares it with its path info. */
async function checkVisible(state: string, kind: 'files' | 'packs' = 'files'): Promise<number> {
  const [blobs, directories, pathInfos] = localStoreFlags(state, kind).map((flag) =>
    flag.slice(flag.indexOf('=') + 1),
  )
  await using stores = await openStores({ blobs: blobs!, directories: directories!, pathInfos: pathInfos! })
  let count = 0
  for await (const pathInfo of stores.pathInfos.list()) {
    const { narSha256 } = await localNarCalculation(stores).calculateNar(pathInfo.node)
    expect(hex(narSha256)).toBe(hex(pathInfo.narSha256))
    count++
  }
  return count
}

/** A time below the limit for each seed, spread evenly. */
function moment(seed: number): number {
  return ((Math.imul(seed + 1, 2654435761) >>> 0) / 2 ** 32) * KILL_WITHIN_MS
}

describe.each([
  ['the importing process, over a store of its own', false, 'files'],
  ['the daemon under an import', true, 'files'],
  ['the importing process, over packs of its own', false, 'packs'],
  ['the daemon over packs under an import', true, 'packs'],
] as const)('kill -9 of %s', (_, viaDaemon, kind) => {
  test(`${ROUNDS} times`, { timeout: ROUNDS * 20_000 }, async () => {
    const state = join(folder, `${viaDaemon ? 'daemon' : 'own'}-${kind}`)
    await mkdir(state)
    for (let seed = 0; seed < ROUNDS; seed++) {
      // Every round has something new to store, among much that is there already.
      await writeFile(join(source, 'round'), `round ${seed}`)
      const daemon = viaDaemon ? await startDaemon(state, ...localStoreFlags(state, kind)) : undefined
      const flags = daemon ? remoteStoreFlags(daemon.address) : localStoreFlags(state, kind)
      const child = spawn(TVIX_STORE, ['import', ...flags, source], { stdio: 'ignore' })
      const exited = once(child, 'exit')
      await pause(moment(seed))
      if (daemon) await daemon.stop('SIGKILL')
      else child.kill('SIGKILL')
      await exited
      await checkVisible(state, kind).catch((error) => {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error })
      })
    }
    await runOk(TVIX_STORE, ['import', ...localStoreFlags(state, kind), source])
    expect(await checkVisible(state, kind)).toBeGreaterThan(0)
  })
})

test.each([
  ['files', 'blobs.object_store/chunks'],
  ['packs', 'blobs.packs/packs/00000000.pack'],
] as const)(
  'the check finds out a store in %s that shows a path and lost a blob of it (negative control)',
  async (kind, lost) => {
    const state = join(folder, `control-${kind}`)
    await runOk(TVIX_STORE, ['import', ...localStoreFlags(state, kind), source])
    await rm(join(state, lost), { recursive: true })
    await expect(checkVisible(state, kind)).rejects.toMatchObject({ code: 'corrupt' })
  },
)
