/**
 * kill -9 at any moment of a copy: what is visible afterwards is complete, with all its references, and the same
 * command run again completes it. Moments come from a seed; a failure names it.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Directory } from '../../src/model/castore/directory.ts'
import type { Node } from '../../src/model/castore/node.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { hex, utf8 } from '../../src/support/bytes.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { localStoreFlags, run, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { directoryNode, entry } from '../support/directories.ts'
import { storePathOf } from '../support/memory-store.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { FULL } from '../support/requirements.ts'

const ROUNDS = FULL ? 60 : 6
const PATHS = 40
/** About as long as the copy takes, start-up included. */
const KILL_WITHIN_MS = 3_000

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tvix-store-copy-kill-'))
  await mkdir(join(folder, 'from'))
  await fill(join(folder, 'from'))
}, 60_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

function open(state: string) {
  const [blobs, directories, pathInfos] = localStoreFlags(state).map((flag) =>
    flag.slice(flag.indexOf('=') + 1),
  )
  return openStores({ blobs: blobs!, directories: directories!, pathInfos: pathInfos! })
}

/** A chain of paths, each with some files of its own. */
async function fill(state: string): Promise<void> {
  await using stores = await open(state)
  const put = async (bytes: Uint8Array): Promise<Node> => {
    const writer = stores.blobs.openWrite()
    await writer.write(bytes)
    return { kind: 'file', digest: await writer.close(), size: BigInt(bytes.length), executable: false }
  }
  for (let p = 0; p < PATHS; p++) {
    const files = Array.from({ length: 5 }, (_, f) => pseudoRandom(f === 0 ? 400_000 : 3_000, p * 5 + f))
    const nodes = await Promise.all(files.map(put))
    const directory = Directory.from(nodes.map((node, i) => entry(utf8(`f${i}`), node)))
    await stores.directories.put(directory)
    const node = directoryNode(directory)
    const references = p === 0 ? [] : [storePathOf(`p${p - 1}`)]
    const nar = await localNarCalculation(stores).calculateNar(node)
    const rest = { references, signatures: [], deriver: undefined, ca: undefined }
    await stores.pathInfos.put({ storePath: storePathOf(`p${p}`), node, ...nar, ...rest })
  }
}

/** Renders every path that is visible, and looks for its references. */
async function countVisible(state: string): Promise<number> {
  await using stores = await open(state)
  let count = 0
  for await (const pathInfo of stores.pathInfos.list()) {
    const { narSha256 } = await localNarCalculation(stores).calculateNar(pathInfo.node)
    expect(hex(narSha256)).toBe(hex(pathInfo.narSha256))
    for (const reference of pathInfo.references)
      expect(await stores.pathInfos.get(reference.digest), `${reference}`).toBeDefined()
    count++
  }
  return count
}

test(`kill -9 of a copy, ${ROUNDS} times`, { timeout: ROUNDS * 30_000 }, async () => {
  await using source = await startDaemon(join(folder, 'from'))
  for (let seed = 0; seed < ROUNDS; seed++) {
    const to = join(folder, `to-${seed}`)
    await mkdir(to)
    const last = storePathOf(`p${PATHS - 1}`).absolutePath
    const args = ['copy', '--json', '--from', source.address, ...localStoreFlags(to), last]
    const child = spawn(TVIX_STORE, args, { stdio: 'ignore' })
    const exited = once(child, 'exit')
    await pause(((Math.imul(seed + 1, 2654435761) >>> 0) / 2 ** 32) * KILL_WITHIN_MS)
    child.kill('SIGKILL')
    await exited
    const survived = await countVisible(to)
    const { code, stdout, stderr } = await run(TVIX_STORE, args)
    expect({ seed, code, stderr }).toMatchObject({ code: 0 })
    expect(JSON.parse(stdout).paths).toEqual({ copied: PATHS - survived, present: survived })
    expect(await countVisible(to)).toBe(PATHS)
  }
})
