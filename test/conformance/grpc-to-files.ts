import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { grpcDirectoryService } from '../../src/services/directories/grpc.ts'
import { grpcPathInfoService } from '../../src/services/pathinfos/grpc.ts'
import { overGrpc, type PartsForTest } from '../support/grpc-server.ts'
import { blobServiceSuite } from './blob-service.ts'
import { directoryServiceSuite } from './directory-service.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'

/** What a daemon has: objects in files, as by default, or in packs for blobs, LMDB for the rest, verified. */
async function stores(
  folder: string,
  directories: string,
  objects = 'objectstore+file',
): Promise<PartsForTest> {
  const opened = await openStores({
    blobs: `${objects}://${folder}/blobs`,
    directories: directories.replace('FOLDER', folder),
    pathInfos: `lmdb://${folder}/path-infos.lmdb`,
  })
  const { blobs, pathInfos } = opened
  return {
    blobs,
    directories: opened.directories,
    pathInfos,
    dispose: async () => opened[Symbol.asyncDispose](),
  }
}

const inLmdb = (folder: string) => stores(folder, 'lmdb://FOLDER/directories.lmdb')
const inPacks = (folder: string) => stores(folder, 'lmdb://FOLDER/directories.lmdb', 'packs')
const inObjects = (folder: string) => stores(folder, 'objectstore+file://FOLDER/directories')

/** Everything that services promise, of our client in front of our server in front of files. */
export function grpcToFilesSuites(family: string): void {
  for (const transport of ['TCP', 'unix'] as const) {
    const name = `${family} over ${transport} to files`
    blobServiceSuite(
      `blob service: ${name}`,
      overGrpc(transport, ({ channel }) => grpcBlobService(channel), inLmdb),
      { chunks: 'content-defined' },
    )
    blobServiceSuite(
      `blob service: ${name}, packs`,
      overGrpc(transport, ({ channel }) => grpcBlobService(channel), inPacks),
      { chunks: 'content-defined' },
    )
    for (const [where, makeParts] of [
      ['LMDB', inLmdb],
      ['objects', inObjects],
    ] as const)
      directoryServiceSuite(
        `directory service: ${name}, ${where}`,
        overGrpc(transport, ({ channel }) => grpcDirectoryService(channel), makeParts),
        { singlePuts: 'leaves' },
      )
    pathInfoServiceSuite(
      `path info service: ${name}`,
      overGrpc(transport, ({ channel }) => grpcPathInfoService(channel), inLmdb),
    )
  }
}
