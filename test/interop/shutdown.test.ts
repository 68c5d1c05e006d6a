/** How a daemon ends under load: what was begun is finished, nothing new is taken, and a second signal cuts it short. */
import { describe, expect, test } from 'vitest'
import type { Digest } from '../../src/model/castore/digest.ts'
import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { type GrpcChannel, openGrpcChannel } from '../../src/services/grpc-channel.ts'
import { SHUTDOWN_MS_MAX } from '../../src/support/limits.ts'
import { type Daemon, startDaemon, until } from '../support/cli.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Far more than the windows and sockets between a daemon and its clients hold. */
const BLOB_BYTES = 48 * 1024 * 1024
const READERS = 6
/** By themselves clients would wait for it to be started again. */
const IMPATIENT = { returnMs: 0 }

async function putBlob(blobs: BlobService): Promise<Digest> {
  const writer = blobs.openWrite()
  await writer.write(pseudoRandom(BLOB_BYTES, 7))
  return writer.close()
}

/** A read that has begun; `finish` gives the number of bytes that came in all. */
async function beginRead(blobs: BlobService, digest: Digest) {
  const pieces = (await blobs.openRead(digest))![Symbol.asyncIterator]()
  const first = await pieces.next()
  return {
    async finish(): Promise<number> {
      let bytes: number = first.value.length
      for (let piece = await pieces.next(); !piece.done; piece = await pieces.next())
        bytes += piece.value.length
      return bytes
    },
  }
}

async function withReads(
  check: (
    daemon: Daemon,
    reads: Awaited<ReturnType<typeof beginRead>>[],
    channels: GrpcChannel[],
    digest: Digest,
  ) => Promise<void>,
): Promise<void> {
  await using dir = await tempDir()
  await using daemon = await startDaemon(dir.path)
  const channels = await Promise.all([1, 2].map(() => openGrpcChannel(daemon.address, IMPATIENT)))
  try {
    const services = channels.map(grpcBlobService)
    const digest = await putBlob(services[0]!)
    const begin = (_: unknown, i: number) => beginRead(services[i % services.length]!, digest)
    await check(daemon, await Promise.all(Array.from({ length: READERS }, begin)), channels, digest)
  } finally {
    for (const channel of channels) channel.close()
  }
}

describe('a stop signal under load', () => {
  test('reads end whole, new ones are refused, and the exit code is 0', async () => {
    await withReads(async (daemon, reads, channels, digest) => {
      const exited = daemon.stop('SIGTERM')
      await until(() => daemon.log().includes('finishing what was begun'))
      const refused = (each: GrpcChannel) => expect(grpcBlobService(each).has(digest)).rejects
      const stranger = await openGrpcChannel(daemon.address, IMPATIENT)
      await refused(stranger).toMatchObject({ code: 'unavailable' })
      await refused(channels[0]!).toMatchObject({ code: 'unavailable' })
      stranger.close()
      const bytes = await Promise.all(reads.map((read) => read.finish()))
      expect(bytes).toEqual(Array(READERS).fill(BLOB_BYTES))
      expect(await exited).toBe(0)
    })
  })

  test('a second signal ends it at once, whatever is still read', async () => {
    await withReads(async (daemon, reads) => {
      void daemon.stop('SIGTERM')
      await until(() => daemon.log().includes('finishing what was begun'))
      const before = performance.now()
      expect(await daemon.stop('SIGTERM')).toBe(130)
      expect(performance.now() - before).toBeLessThan(SHUTDOWN_MS_MAX / 2)
      for (const read of reads) await expect(read.finish()).rejects.toMatchObject({ code: 'unavailable' })
    })
  })

  test('readers that never go on are cut at the end of the drain, and it is still 0', async () => {
    await withReads(async (daemon, reads) => {
      expect(await daemon.stop('SIGTERM')).toBe(0)
      expect(daemon.log()).toContain('cutting connections that are still busy')
      await expect(reads[0]!.finish()).rejects.toMatchObject({ code: 'unavailable' })
    })
  })
})
