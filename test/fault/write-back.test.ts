/**
 * Writing behind: whatever was answered with success reaches far in the end, however often the process is killed, and
 * far never shows a path of which something is missing.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { priorityBlobService } from '../../src/services/blobs/priority.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { writeBackBlobService } from '../../src/services/blobs/write-back.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { SourceSet } from '../../src/services/source-set.ts'
import { openWriteQueue } from '../../src/services/write-queue.ts'
import { hex } from '../../src/support/bytes.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'
import { until } from '../support/cli.ts'
import { faultyBlobs } from '../support/faulty-blobs.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { FULL } from '../support/requirements.ts'
import { tempDir } from '../support/temp-dir.ts'

const CHILD = join(import.meta.dirname, '../support/write-back-child.ts')
const ROUNDS = FULL ? 200 : 5
const SMALL = pseudoRandom(3_000, 41)

function composition(folder: string): string {
  const layer = (section: string, near: string, far: string) =>
    `[${section}.root]\ntype = "write-back"\nnear = "${near}"\nfar = "${far}"\nqueue = "${folder}/queue.lmdb"\n`
  return [
    layer('blobservices', `objectstore+file://${folder}/near`, `objectstore+file://${folder}/far`),
    layer('directoryservices', `lmdb://${folder}/near.lmdb`, `lmdb://${folder}/far.lmdb`),
    layer('pathinfoservices', `lmdb://${folder}/near.lmdb`, `lmdb://${folder}/far.lmdb`),
  ].join('\n')
}

/** The store paths that far shows, each rendered from far alone and compared with its path info. */
async function farPaths(folder: string): Promise<string[]> {
  await using far = await openStores({
    blobs: `objectstore+file://${folder}/far`,
    directories: `lmdb://${folder}/far.lmdb`,
    pathInfos: `lmdb://${folder}/far.lmdb`,
  })
  const paths: string[] = []
  for await (const pathInfo of far.pathInfos.list()) {
    const { narSha256 } = await localNarCalculation(far).calculateNar(pathInfo.node)
    expect(hex(narSha256)).toBe(hex(pathInfo.narSha256))
    paths.push(pathInfo.storePath.toString())
  }
  return paths
}

async function makeSources(folder: string, round: number): Promise<string[]> {
  const sources: string[] = []
  for (let tree = 0; tree < 3; tree++) {
    const source = join(folder, `source-${round}-${tree}`)
    await mkdir(join(source, 'sub'), { recursive: true })
    for (let file = 0; file < 20; file++)
      await writeFile(
        join(source, file % 2 ? 'sub' : '.', `f${file}`),
        `${round} ${tree} ${file}\n`.repeat(50),
      )
    sources.push(source)
  }
  return sources
}

describe('write-back', () => {
  it('sends in the background what near took, and tries again until far takes it', async () => {
    await using dir = await tempDir()
    const near = { name: 'near', service: memoryBlobService() }
    const far = { name: 'far', service: faultyBlobs(memoryBlobService()) }
    await using queue = await openWriteQueue(join(dir.path, 'queue.lmdb'))
    const reads = priorityBlobService(new SourceSet([near, far]))
    const blobs = writeBackBlobService(reads, near, far, queue)
    far.service.dead = true
    const writer = blobs.openWrite()
    await writer.write(SMALL)
    const digest = await writer.close()
    expect(await readBlob(blobs, digest)).toBeDefined()
    far.service.dead = false
    await queue.drained({ signal: AbortSignal.timeout(20_000) })
    expect(await readBlob(far.service, Digest.of(SMALL))).toBeDefined()
    expect(queue.length).toBe(0)
  })

  it('is refused to a second process, which would send what is not there yet', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'queue.lmdb')
    await using _ = await openWriteQueue(path)
    await expect(openWriteQueue(path)).rejects.toMatchObject({ code: 'precondition' })
  })

  it(`loses nothing in ${ROUNDS} rounds of kill -9`, { timeout: ROUNDS * 20_000 }, async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'store.toml')
    await writeFile(file, composition(dir.path))
    const promised: string[] = []
    for (let seed = 0; seed < ROUNDS; seed++) {
      const sources = await makeSources(dir.path, seed)
      const child = spawn(process.execPath, [CHILD, file, ...sources], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
      const exited = once(child, 'exit')
      await until(() => output.includes('started') || child.exitCode !== null)
      await pause(((Math.imul(seed + 1, 2654435761) >>> 0) / 2 ** 32) * 1_000)
      child.kill('SIGKILL')
      await exited
      promised.push(...output.split('\n').filter((line) => line.includes('-source-')))
      await farPaths(dir.path)
      for (const source of sources) await rm(source, { recursive: true })
    }
    expect(promised.length).toBeGreaterThan(0)
    {
      await using stores = await openStores({ blobs: '', directories: '', pathInfos: '', composition: file })
      await stores.uploads!.drained({ signal: AbortSignal.timeout(60_000) })
    }
    expect(await farPaths(dir.path)).toEqual(expect.arrayContaining(promised))
  })

  it('is seen to lose something when its queue is deleted (negative control)', async () => {
    await using dir = await tempDir()
    const near = { name: 'near', service: memoryBlobService() }
    const far = { name: 'far', service: faultyBlobs(memoryBlobService()) }
    const path = join(dir.path, 'queue.lmdb')
    {
      await using queue = await openWriteQueue(path)
      far.service.dead = true
      const blobs = writeBackBlobService(near.service, near, far, queue)
      const writer = blobs.openWrite()
      await writer.write(SMALL)
      await writer.close()
    }
    await rm(path)
    await using queue = await openWriteQueue(path)
    far.service.dead = false
    writeBackBlobService(near.service, near, far, queue)
    await queue.drained()
    expect(await far.service.has(Digest.of(SMALL))).toBe(false)
  })
})
