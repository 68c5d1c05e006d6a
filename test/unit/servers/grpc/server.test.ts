import { Client, credentials, status } from '@grpc/grpc-js'
import { service as healthService } from 'grpc-health-check'
import { describe, expect, test } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import { readBlobRequest } from '../../../../src/model/wire/messages.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { GRPC_BLOB_PIECE_BYTES_MIN } from '../../../../src/support/limits.ts'
import { startTestServer } from '../../../support/grpc-server.ts'

const DIGEST = Digest.of(Buffer.from('x86_64-linux'))

interface HealthAnswer {
  readonly status?: string
  readonly error?: number
}

function healthClient(target: string) {
  const client = new Client(target, credentials.createInsecure())
  const { path, requestSerialize, responseDeserialize } = healthService['Check']!
  return {
    check: (service: string): Promise<HealthAnswer> =>
      new Promise((resolve) =>
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, { service }, (error, answer) =>
          resolve(error ? { error: error.code } : { status: (answer as { status: string }).status }),
        ),
      ),
    /** The states from now on, until the stream ends. */
    watch: (service: string) => {
      const watch = healthService['Watch']!
      const stream = client.makeServerStreamRequest(
        watch.path,
        watch.requestSerialize,
        watch.responseDeserialize,
        { service },
      )
      stream.on('error', () => {}) // the drain cuts it
      return stream
    },
    [Symbol.dispose]: () => client.close(),
  }
}

describe('health', () => {
  test('the server as a whole and every service of both families serve', async () => {
    await using server = await startTestServer()
    using health = healthClient(server.bound)
    const services = ['castore.v1.BlobService', 'castore.v1.DirectoryService', 'store.v1.PathInfoService']
    for (const name of ['', ...services.flatMap((each) => [`tvix.${each}`, `snix.${each}`])])
      expect([name, await health.check(name)]).toEqual([name, { status: 'SERVING' }])
    expect(await health.check('tvix.build.v1.BuildService')).toEqual({ error: 5 })
  })

  test('a drain begins with NOT_SERVING', async () => {
    const server = await startTestServer()
    using health = healthClient(server.bound)
    const stream = health.watch('')
    const states: string[] = []
    const told = Promise.withResolvers<void>()
    const drained = Promise.withResolvers<void>()
    stream.on('data', ({ status }: { status: string }) => {
      states.push(status)
      if (status === 'SERVING') told.resolve()
      else drained.resolve()
    })
    await told.promise
    const stopped = server.server.shutdown(10_000)
    await drained.promise
    expect(states).toEqual(['SERVING', 'NOT_SERVING'])
    stream.cancel()
    server.channel.close()
    await stopped
  })
})

/** One blob whose single piece is released by the test. */
function gatedBlobs() {
  const gate = Promise.withResolvers<void>()
  async function* pieces() {
    yield Buffer.from('x86_64')
    await gate.promise
    yield Buffer.from('-linux')
  }
  const inner = memoryBlobService()
  const blobs: BlobService = {
    has: (digest) => inner.has(digest),
    chunks: (digest) => inner.chunks(digest),
    openRead: async () => pieces(),
    openWrite: () => inner.openWrite(),
  }
  return { blobs, gate }
}

describe('shutdown', () => {
  test('a read that runs finishes, and then nothing is open', async () => {
    const { blobs, gate } = gatedBlobs()
    const server = await startTestServer('127.0.0.1:0', { blobs })
    const stream = (await grpcBlobService(server.channel).openRead(DIGEST))![Symbol.asyncIterator]()
    await stream.next()
    const stopped = server.server.shutdown(10_000)
    gate.resolve()
    expect(Buffer.from((await stream.next()).value).toString()).toBe('-linux')
    expect((await stream.next()).done).toBe(true)
    await stopped
    server.channel.close()
  })

  test('what is left at the deadline is cut, and looks like a lost peer', async () => {
    const { blobs } = gatedBlobs()
    const server = await startTestServer('127.0.0.1:0', { blobs })
    const stream = (await grpcBlobService(server.channel).openRead(DIGEST))![Symbol.asyncIterator]()
    await stream.next()
    const rest = stream.next().then(
      () => 'ended',
      (error: { code: string }) => error.code,
    )
    await server.server.shutdown(50)
    expect(await rest).toBe('unavailable')
    server.channel.close()
  })

  test('without connections it is immediate, and the address is free again', async () => {
    const server = await startTestServer()
    await server[Symbol.asyncDispose]()
    await using again = await startTestServer(server.bound)
    expect(again.bound).toBe(server.bound)
  })
})

test('one server listens on several addresses', async () => {
  await using server = await startTestServer()
  const second = await server.server.listen('127.0.0.1:0')
  expect(second).not.toBe(server.bound)
  expect(await grpcBlobService(server.channel).has(EMPTY_DIGEST)).toBe(false)
})

test('a deadline of the client in the middle of a stream ends that stream and nothing else', async () => {
  let released = 0
  const passed = Promise.withResolvers<void>()
  async function* pieces() {
    yield Buffer.from('first')
    await passed.promise
    for (; released < 3; released++) yield Buffer.alloc(GRPC_BLOB_PIECE_BYTES_MIN)
  }
  const blobs: BlobService = {
    ...memoryBlobService(),
    chunks: async () => [],
    openRead: async () => pieces(),
  }
  await using server = await startTestServer('127.0.0.1:0', { blobs })
  const client = new Client(server.bound, credentials.createInsecure())
  const same = (bytes: Buffer) => bytes
  const request = Buffer.from(readBlobRequest.encode(DIGEST.bytes))
  const path = '/tvix.castore.v1.BlobService/Read'
  const stream = client.makeServerStreamRequest(path, same, same, request, { deadline: Date.now() + 300 })
  const code = await new Promise((resolve) => {
    stream.on('data', () => {})
    stream.on('error', () => {})
    stream.on('status', (end) => resolve(end.code))
  })
  passed.resolve()
  expect(code).toBe(status.DEADLINE_EXCEEDED)
  expect(await grpcBlobService(server.channel).has(DIGEST)).toBe(true)
  expect(released).toBeLessThan(3)
  client.close()
})
