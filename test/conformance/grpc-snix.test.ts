import { expect, test, vi } from 'vitest'
import { pathInfoRpc } from '../../src/model/wire/services.ts'
import { startTestServer } from '../support/grpc-server.ts'
import { grpcToFilesSuites } from './grpc-to-files.ts'

// Here the other family does not exist, for servers and for clients: what works, works by the names of this one.
vi.mock('../../src/model/wire/rpc.ts', async (original) => ({
  ...(await original<object>()),
  FAMILIES: ['snix'],
}))

grpcToFilesSuites('snix')

test('the other family is not served here', async () => {
  await using server = await startTestServer()
  const call = await server.channel.start(pathInfoRpc, 'List')
  expect(call.what).toContain('snix.store.v1.PathInfoService/List')
  call.cancel()
})
