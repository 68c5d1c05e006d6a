import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { grpcDirectoryService } from '../../src/services/directories/grpc.ts'
import { grpcPathInfoService } from '../../src/services/pathinfos/grpc.ts'
import { overGrpc, type PartsForTest } from '../support/grpc-server.ts'
import { blobServiceSuite } from './blob-service.ts'
import { directoryServiceSuite } from './directory-service.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'

/** What a daemon has by default: objects in files for blobs, LMDB for the rest, verified. */
async function stores(folder: string, directories: string): Promise<PartsForTest> {
  const opened = await openStores({
    blobs: `objectstore+file://${folder}/blobs`,
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
