/** `tvix-store daemon --metrics`: numbers over HTTP, on a listener of their own. */
import { expect, test } from 'vitest'
import { EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import { openGrpcChannel } from '../../src/services/grpc-channel.ts'
import { startDaemon, until } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'

test('a daemon tells its calls, and ends with 0 all the same', async () => {
  await using dir = await tempDir()
  await using daemon = await startDaemon(dir.path, '--metrics', '127.0.0.1:0')
  await until(() => daemon.log().includes('serving metrics'))
  const address = /127\.0\.0\.1:[1-9][0-9]*/.exec(daemon.log())![0]
  const channel = await openGrpcChannel(daemon.address)
  await grpcBlobService(channel).has(EMPTY_DIGEST)
  channel.close()
  const text = await (await fetch(`http://${address}/metrics`)).text()
  expect(text).toContain('tvix_store_grpc_calls_total{service="tvix.castore.v1.BlobService",method="Stat"')
  for (const layer of ['backend', 'verified'])
    expect(text).toContain(
      `tvix_store_service_calls_total{service="blobs",method="chunks",layer="${layer}",status="NOT_FOUND"} `,
    )
  expect(await daemon.stop()).toBe(0)
})
