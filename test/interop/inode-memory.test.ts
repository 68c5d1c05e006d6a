/**
 * What the process of a mount keeps for the inodes that the kernel knows: at most 150 bytes each at a million of them, next
 * to a kilobyte of the kernel's own, and no more after ten walks with everything forgotten between. Garbage, which V8 collects
 * when it sees a reason to, is told, too.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { BLAKE3_BYTES } from '../../src/model/castore/blake3.ts'
import { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { localStoreFlags, until } from '../support/cli.ts'
import { directoryNode, entry } from '../support/directories.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { FULL } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'

const FILES_EACH = 100
/** Directories of a first store path, which fill what is kept whatever the number of inodes, and of a second one. */
const DIRECTORIES = [3_000, 7_000] as const
const [FIRST, SECOND] = DIRECTORIES.map((count) => count * (FILES_EACH + 1) + 1) as [number, number]
const BYTES_EACH_MAX = 150
const WALKS = 10
/** Of the memory after the second walk. */
const GROWTH_MAX = 1.1

const RETAINED = join(import.meta.dirname, '../support/retained-memory.ts')

const reason = FULL ? whyNoMounts() : 'takes minutes: scripts/test --full'

describe.skipIf(reason)(
  `${FIRST + SECOND} inodes${reason ? ` (skipped: ${reason})` : ''}`,
  { timeout: 540_000 },
  () => {
    let folder: string
    let namespace: MountNamespace
    let retainedFile: string
    let peakBytes = 0
    const paths = DIRECTORIES.map((count) => makePathInfo(`with-${count}-directories`))

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-inodes-'))
      namespace = await MountNamespace.create()
      retainedFile = join(folder, 'retained')
      vi.stubEnv('RETAINED_MEMORY', retainedFile)
      vi.stubEnv('NODE_OPTIONS', `--import=${RETAINED}`)
      await store(folder)
    }, 200_000)

    afterAll(async () => {
      vi.unstubAllEnvs()
      await namespace?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    async function store(state: string): Promise<void> {
      const [blobs, directories, pathInfos] = localStoreFlags(state).map((flag) =>
        flag.slice(flag.indexOf('=') + 1),
      )
      await using stores = await openStores({
        blobs: blobs!,
        directories: directories!,
        pathInfos: pathInfos!,
      })
      for (const [i, count] of DIRECTORIES.entries()) {
        const inner = Array.from({ length: count }, makeDirectory)
        await Promise.all(inner.map((directory) => stores.directories.put(directory)))
        const root = Directory.from(inner.map((each, d) => entry(utf8(`dir-${d}`), directoryNode(each))))
        await stores.directories.put(root)
        await stores.pathInfos.put({ ...paths[i]!, node: directoryNode(root) })
      }
    }

    /** Shows everything below a path to the kernel; how many bytes the mount keeps then. */
    async function walk(mount: StoreMount, which: 0 | 1): Promise<number> {
      const at = join(mount.target, `${paths[which]!.storePath}`)
      const { stdout } = await namespace.run('sh', '-c', 'find "$0" -size +1G -o -print | wc -l', at)
      expect(Number(stdout)).toBe([FIRST, SECOND][which])
      peakBytes = Math.max(peakBytes, ownBytes(mount.pid))
      return await retained(mount)
    }

    async function retained(mount: StoreMount): Promise<number> {
      await rm(retainedFile, { force: true })
      mount.kill('SIGUSR2')
      await until(() => existsSync(retainedFile))
      return Number(readFileSync(retainedFile, 'utf8'))
    }

    /** Resolves when the mount has heard of everything that the kernel forgot. */
    async function forgetAll(mount: StoreMount): Promise<void> {
      await namespace.run('sh', '-c', 'echo 2 > /proc/sys/vm/drop_caches')
      let heard = ''
      await until(async () => {
        const before = heard
        heard = JSON.stringify((await mount.stats()).kernel.requests)
        return heard === before
      })
    }

    test(`at most ${BYTES_EACH_MAX} bytes each, and no more after ${WALKS} walks`, async () => {
      const flags = localStoreFlags(folder)
      await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
      const first = await walk(mount, 0)
      const all = [await walk(mount, 1)]
      const each = (all[0]! - first) / SECOND
      while (all.length < WALKS) {
        await forgetAll(mount)
        await walk(mount, 0)
        all.push(await walk(mount, 1))
      }
      const mebibytes = [first, ...all].map((bytes) => Math.round(bytes / 2 ** 20)).join(', ')
      console.info(
        `${each.toFixed(0)} bytes an inode; MiB after ${FIRST} inodes, and after each walk: ${mebibytes}`,
      )
      expect(each).toBeLessThan(BYTES_EACH_MAX)
      expect(all.at(-1)! / all[1]!).toBeLessThan(GROWTH_MAX)
    })
  },
)

/** As a listing has it; nobody reads the files, so there are no blobs. */
function makeDirectory(): Directory {
  const digests = randomBytes(BLAKE3_BYTES * FILES_EACH)
  const files = Array.from({ length: FILES_EACH }, (_, f) => {
    const digest = Digest.fromBytes(digests.subarray(BLAKE3_BYTES * f, BLAKE3_BYTES * (f + 1)))
    return entry(utf8(`file-${f}`), { kind: 'file', digest, size: BigInt(f * 100), executable: false })
  })
  return Directory.from(files)
}

/** The memory that a process has of its own (proc(5), RssAnon). */
function ownBytes(pid: number): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}
