import { createGrpcServer, type GrpcServer, type GrpcServerParts } from '../../src/servers/grpc/server.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { type GrpcChannel, openGrpcChannel } from '../../src/services/grpc-channel.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { silentLogger } from '../../src/support/log.ts'
import { tempDir } from './temp-dir.ts'

/** A server in this process, with a channel to it. */
export interface TestServer extends AsyncDisposable {
  readonly server: GrpcServer
  /** What `listen` answered. */
  readonly bound: string
  /** `grpc+…` */
  readonly address: string
  readonly channel: GrpcChannel
}

/** A server over memory, with some parts replaced. `listenOn`: an address for `listen`. */
export async function startTestServer(
  listenOn = '127.0.0.1:0',
  parts: Partial<GrpcServerParts> = {},
): Promise<TestServer> {
  const server = createGrpcServer({ ...memoryParts(), ...parts })
  const bound = await server.listen(listenOn)
  const address = bound.startsWith('/') ? `grpc+unix:${bound}` : `grpc+http://${bound}`
  const channel = await openGrpcChannel(address)
  return {
    server,
    bound,
    address,
    channel,
    async [Symbol.asyncDispose]() {
      channel.close()
      await server.shutdown(0)
    },
  }
}

export function memoryParts(): GrpcServerParts {
  return {
    blobs: memoryBlobService(),
    directories: memoryDirectoryService(),
    pathInfos: memoryPathInfoService(),
    narCalculation: {
      calculateNar: async () => ({ narSize: 136n, narSha256: new Uint8Array(32).fill(7) }),
    },
    logger: silentLogger,
  }
}

/** Parts of a server, and how they are closed when it is gone. */
export interface PartsForTest extends Partial<GrpcServerParts> {
  readonly dispose?: () => Promise<void>
}

/**
 * For conformance suites: a client in front of a server in front of memory, or of parts that may keep files in a
 * folder; fresh each time.
 */
export function overGrpc<S>(
  transport: 'TCP' | 'unix',
  makeClient: (server: TestServer) => S,
  makeParts: (folder: string) => PartsForTest | Promise<PartsForTest> = () => ({}),
): () => Promise<{ subject: S } & AsyncDisposable> {
  return async () => {
    const dir = await tempDir()
    const { dispose, ...parts } = await makeParts(dir.path)
    const server = await startTestServer(transport === 'unix' ? `${dir.path}/socket` : undefined, parts)
    return {
      subject: makeClient(server),
      async [Symbol.asyncDispose]() {
        await server[Symbol.asyncDispose]()
        await dispose?.()
        await dir[Symbol.asyncDispose]()
      },
    }
  }
}
