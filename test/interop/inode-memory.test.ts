/**
 * What the process of a mount needs for the inodes that the kernel knows: at most 150 bytes each at a million of them, next
 * to a kilobyte of the kernel's own, and no more after ten walks with everything forgotten between.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { localStoreFlags } from '../support/cli.ts'
import { directoryNode, entry } from '../support/directories.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { FULL } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'

const DIRECTORIES = 10_000
const FILES_EACH = 100
const INODES = DIRECTORIES * (FILES_EACH + 1)
const BYTES_EACH_MAX = 150
const WALKS = 10

const reason = FULL ? whyNoMounts() : 'takes minutes: scripts/test --full'

describe.skipIf(reason)(
  `${INODES} inodes${reason ? ` (skipped: ${reason})` : ''}`,
  { timeout: 540_000 },
  () => {
    let folder: string
    let namespace: MountNamespace
    const path = makePathInfo('wide')

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tvix-store-inodes-'))
      namespace = await MountNamespace.create()
      await store(folder)
    }, 200_000)

    afterAll(async () => {
      await namespace?.[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    })

    /** Files that nobody reads need no blobs. */
    async function store(state: string): Promise<void> {
      const [blobs, directories, pathInfos] = localStoreFlags(state).map((flag) =>
        flag.slice(flag.indexOf('=') + 1),
      )
      await using stores = await openStores({
        blobs: blobs!,
        directories: directories!,
        pathInfos: pathInfos!,
      })
      const inner = Array.from({ length: DIRECTORIES }, (_, d) => {
        const digests = randomBytes(32 * FILES_EACH)
        const files = Array.from({ length: FILES_EACH }, (_, f) => {
          const digest = Digest.fromBytes(digests.subarray(32 * f, 32 * (f + 1)))
          return entry(utf8(`file-${f}`), { kind: 'file', digest, size: BigInt(d + f), executable: false })
        })
        return Directory.from(files)
      })
      await Promise.all(inner.map((directory) => stores.directories.put(directory)))
      const root = Directory.from(
        inner.map((directory, d) => entry(utf8(`dir-${d}`), directoryNode(directory))),
      )
      await stores.directories.put(root)
      await stores.pathInfos.put({ ...path, node: directoryNode(root) })
    }

    test(`at most ${BYTES_EACH_MAX} bytes each, and no more after ${WALKS} walks`, async () => {
      const flags = localStoreFlags(folder)
      await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
      const at = join(mount.target, `${path.storePath}`)
      expect((await namespace.run('stat', join(at, 'dir-1/file-1'))).status).toBe(0)
      const before = ownBytes(mount.pid)
      const after: number[] = []
      for (let walk = 0; walk < WALKS; walk++) {
        const { stdout } = await namespace.run('sh', '-c', `find "$0" -size +1G -o -print | wc -l`, at)
        expect(Number(stdout)).toBe(INODES + 1)
        after.push(ownBytes(mount.pid))
        await namespace.run('sh', '-c', 'echo 2 > /proc/sys/vm/drop_caches')
      }
      console.info(
        `before ${before}; after each walk: ${after.map((b) => ((b - before) / INODES).toFixed(1)).join(', ')} bytes an inode`,
      )
      expect((after[0]! - before) / INODES).toBeLessThan(BYTES_EACH_MAX)
    })
  },
)

/** The memory that a process has of its own (proc(5), RssAnon). */
function ownBytes(pid: number): number {
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1024
}
