import { Digest } from '../../src/model/castore/digest.ts'
import type { Directory } from '../../src/model/castore/directory.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { collect } from '../support/collect.ts'
import { chain } from '../support/directories.ts'
import { startTestServer, type TestServer } from '../support/grpc-server.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { type Client, drain, seal } from './grpc-client.ts'

/** Eight chunks or so. */
export const LARGE = pseudoRandom(2_000_000, 3)
const SMALL = pseudoRandom(2_000, 4)
const DIRECTORIES = chain(20, 'fault')
const ROOT = DIRECTORIES.at(-1) as Directory
const PATH_INFO = makePathInfo('fault')

/** A server that has one of everything, in a store that divides blobs into chunks. */
export async function startSampleServer(): Promise<TestServer> {
  const parts = {
    blobs: objectStoreBlobService(memoryObjectStore()),
    directories: memoryDirectoryService(),
    pathInfos: memoryPathInfoService(),
  }
  for (const blob of [LARGE, SMALL]) {
    const writer = parts.blobs.openWrite()
    await writer.write(blob)
    await writer.close()
  }
  const putter = parts.directories.startPutter()
  for (const directory of DIRECTORIES) await putter.put(directory)
  await putter.close()
  await parts.pathInfos.put(PATH_INFO)
  return startTestServer('127.0.0.1:0', parts)
}

export interface Operation {
  readonly title: string
  run(client: Client): Promise<unknown>
  /** What comes out when all is well. All of it exists: nothing here may ever be absent. */
  readonly truth: unknown
}

const readBlob = (title: string, blob: Uint8Array): Operation => ({
  title,
  run: (client) => drain(client.blobs.openRead(Digest.of(blob))),
  truth: seal(blob),
})

export const READ_LARGE = readBlob('reading a large blob', LARGE)
export const READ_SMALL = readBlob('reading a small blob', SMALL)

export const READS: readonly Operation[] = [
  READ_LARGE,
  READ_SMALL,
  { title: 'has', run: (client) => client.blobs.has(Digest.of(SMALL)), truth: true },
  {
    title: 'a chunk list',
    run: async (client) =>
      (await client.blobs.chunks(Digest.of(LARGE)))?.reduce((sum, { size }) => sum + size, 0),
    truth: LARGE.length,
  },
  {
    title: 'a directory',
    run: async (client) => (await client.directories.get(ROOT.digest))?.digest.hex,
    truth: ROOT.digest.hex,
  },
  {
    title: 'a closure',
    run: async (client) =>
      (await collect(client.directories.getRecursive(ROOT.digest))).map(({ digest }) => digest.hex),
    truth: DIRECTORIES.map(({ digest }) => digest.hex).toReversed(),
  },
  {
    title: 'a path info',
    run: async (client) => (await client.pathInfos.get(PATH_INFO.storePath.digest))?.storePath.toString(),
    truth: PATH_INFO.storePath.toString(),
  },
  {
    title: 'all path infos',
    run: async (client) =>
      (await collect(client.pathInfos.list())).map(({ storePath }) => storePath.toString()),
    truth: [PATH_INFO.storePath.toString()],
  },
]

/** Storing again what is there: whatever happens, it never succeeds with another digest. */
export const WRITES: readonly Operation[] = [
  {
    title: 'storing a large blob',
    async run(client) {
      const writer = client.blobs.openWrite()
      try {
        for (let start = 0; start < LARGE.length; start += 100_000)
          await writer.write(LARGE.subarray(start, start + 100_000))
        return (await writer.close()).hex
      } catch (error) {
        await writer.abort()
        throw error
      }
    },
    truth: Digest.of(LARGE).hex,
  },
  {
    title: 'storing directories',
    async run(client) {
      const putter = client.directories.startPutter()
      for (const directory of DIRECTORIES) await putter.put(directory)
      return (await putter.close()).hex
    },
    truth: ROOT.digest.hex,
  },
  {
    title: 'storing a path info',
    run: async (client) => (await client.pathInfos.put(PATH_INFO)).storePath.toString(),
    truth: PATH_INFO.storePath.toString(),
  },
]
