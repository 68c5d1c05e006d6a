import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { openStores } from '../../../../src/services/composition/open-stores.ts'
import { concatBytes } from '../../../../src/support/bytes.ts'
import { checkPathInfo, proveContentAddress } from '../../../../src/transfer/check-path-info.ts'
import { copyCastore } from '../../../../src/transfer/copy-castore.ts'
import { ingestNar } from '../../../../src/transfer/ingest-nar.ts'
import { renderNar } from '../../../../src/transfer/render-nar.ts'
import {
  asBridgePath,
  type CachedPath,
  makeCachedPath,
  startTestCache,
} from '../../../support/binary-cache.ts'
import { collect } from '../../../support/collect.ts'
import { startTestServer } from '../../../support/grpc-server.ts'
import { recordingLogger } from '../../../support/recording-logger.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const nars = { ingestNar, checkPathInfo, proveContentAddress, copyCastore }
const HTTP2_PREFACE = 'PRI'

const opened = (pathInfos: string, logger = recordingLogger().logger) =>
  openStores({ blobs: 'memory:', directories: 'memory:', pathInfos }, { nars, logger })

async function expectSubstituted(
  stores: Awaited<ReturnType<typeof openStores>>,
  { pathInfo, nar }: CachedPath,
): Promise<void> {
  const found = await stores.pathInfos.get(pathInfo.storePath.digest)
  expect(found?.storePath.toString()).toBe(pathInfo.storePath.toString())
  expect(Buffer.compare(concatBytes(await collect(renderNar(stores, found!.node))), nar)).toBe(0)
}

/** One port in front of two, as reverse proxies do it: HTTP/2 goes to the one, all else to the other. */
async function besideEachOther(http2Port: number, otherPort: number) {
  const server = createServer((client) => {
    client.on('error', () => {})
    client.once('data', (head) => {
      const isHttp2 = head.subarray(0, 3).toString() === HTTP2_PREFACE
      const upstream = connect(isHttp2 ? http2Port : otherPort, '127.0.0.1', () => upstream.write(head))
      upstream.on('error', () => client.destroy()).on('close', () => client.destroy())
      client.on('close', () => upstream.destroy())
      client.pipe(upstream).pipe(client)
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close()
    },
  }
}

describe('stores of binary caches', () => {
  it('copy contents over gRPC from the origin of a nar-bridge', async () => {
    const path = asBridgePath(await makeCachedPath('one'))
    await using cache = await startTestCache()
    cache.add(path, { file: (response) => response.writeHead(404).end() })
    await using grpc = await startTestServer('127.0.0.1:0', path.castore)
    await using both = await besideEachOther(Number(grpc.bound.split(':').at(-1)), Number(cache.url.port))
    await using stores = await opened(cache.address.replace(cache.url.port, String(both.port)))
    await expectSubstituted(stores, path)
    expect(cache.narRequests).toBe(0)
  })

  it('download the NAR, and warn, when nobody speaks gRPC there', async () => {
    const path = asBridgePath(await makeCachedPath('one'))
    await using cache = await startTestCache()
    cache.add(path)
    const { logger, lines } = recordingLogger()
    await using stores = await opened(cache.address, logger)
    await expectSubstituted(stores, path)
    expect(lines.map(({ msg }) => msg)).toEqual(['cannot copy contents, downloading the NAR'])
  })

  it('keep what they found in the service before them', async () => {
    await using dir = await tempDir()
    const [one, two] = [await makeCachedPath('one'), await makeCachedPath('two')]
    const near = `lmdb://${dir.path}/pathinfo.lmdb`
    {
      await using cache = await startTestCache()
      cache.add(one)
      await using stores = await opened(`${near} ${cache.address}`)
      await expectSubstituted(stores, one)
      await stores.pathInfos.put(two.pathInfo)
      expect(await collect(stores.pathInfos.list())).toHaveLength(2)
    }
    await using again = await opened(near)
    expect(await again.pathInfos.get(one.pathInfo.storePath.digest)).toBeDefined()
  })

  it('say so where nobody can ingest', async () => {
    const addresses = { blobs: 'memory:', directories: 'memory:', pathInfos: 'nix+http://127.0.0.1:1' }
    await expect(openStores(addresses)).rejects.toMatchObject({ code: 'unimplemented' })
  })
})
