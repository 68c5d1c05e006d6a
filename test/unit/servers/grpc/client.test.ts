import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { describe, expect, test, vi } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import { blobRpc } from '../../../../src/model/wire/services.ts'
import { AnswerStreams } from '../../../../src/servers/grpc/backpressure.ts'
import { blobHandlers } from '../../../../src/servers/grpc/blob-handlers.ts'
import { CallLimits } from '../../../../src/servers/grpc/call-limits.ts'
import { CallMetrics } from '../../../../src/servers/grpc/call-metrics.ts'
import { defineService, implementService } from '../../../../src/servers/grpc/method-adapter.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import type { BlobService, BlobStream, BlobWriter } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { grpcDirectoryService } from '../../../../src/services/directories/grpc.ts'
import { openGrpcChannel } from '../../../../src/services/grpc-channel.ts'
import { grpcPathInfoService } from '../../../../src/services/pathinfos/grpc.ts'
import type { Call } from '../../../../src/support/call.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import {
  GRPC_BLOB_MESSAGE_BYTES,
  GRPC_STREAMS_AHEAD_MAX,
  GRPC_WINDOW_BYTES,
} from '../../../../src/support/limits.ts'
import { silentLogger } from '../../../../src/support/log.ts'
import { startTestServer } from '../../../support/grpc-server.ts'

const DIGEST = Digest.of(Buffer.from('x86_64-linux'))
const PIECE = new Uint8Array(GRPC_BLOB_MESSAGE_BYTES)
/** What may be underway: both windows, and the messages that either end holds (16 in a grpc-js stream). */
const PIECES_UNDERWAY_MAX = (2 * GRPC_WINDOW_BYTES) / GRPC_BLOB_MESSAGE_BYTES + 24

async function failure(promise: Promise<unknown>): Promise<StoreError> {
  const error = await promise.then(
    () => new Error('it succeeded'),
    (thrown: unknown) => thrown,
  )
  if (error instanceof StoreError) return error
  throw error
}

/** Waits until a number that only grows has stopped growing. */
async function settled(read: () => number): Promise<number> {
  for (let quiet = 0, last = -1; ; quiet = read() === last ? quiet + 1 : 0) {
    if (quiet === 20) return last
    last = read()
    await wait(10)
  }
}

/** Blobs without end; counts what was taken from them, and whether they were let go. */
function endlessBlobs() {
  const state = { taken: 0, released: 0 }
  async function* pieces() {
    try {
      for (;;) {
        state.taken++
        yield PIECE
      }
    } finally {
      state.released++
    }
  }
  const blobs = { ...memoryBlobs(), openRead: async () => pieces() } satisfies BlobService
  return { state, blobs }
}

function memoryBlobs(): BlobService {
  const inner = memoryBlobService()
  return {
    has: (digest, call) => inner.has(digest, call),
    chunks: (digest, call) => inner.chunks(digest, call),
    openRead: (digest, call) => inner.openRead(digest, call),
    openWrite: (call) => inner.openWrite(call),
  }
}

/** A bare server that knows blobs under one family's name only. */
async function serveBlobsAs(family: 'snix' | undefined, blobs: BlobService) {
  const server = new Server()
  if (family)
    server.addService(
      defineService(family, blobRpc),
      implementService(blobRpc, blobHandlers(blobs), {
        logger: silentLogger,
        limits: new CallLimits(),
        answers: new AnswerStreams(),
        metrics: new CallMetrics(),
      }),
    )
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  )
  const channel = await openGrpcChannel(`grpc+http://127.0.0.1:${port}`)
  return {
    channel,
    [Symbol.dispose]() {
      channel.close()
      server.forceShutdown()
    },
  }
}

describe('families', () => {
  test('a peer of the newer family is recognised', async () => {
    const store = memoryBlobService()
    using peer = await serveBlobsAs('snix', store)
    const blobs = grpcBlobService(peer.channel)
    expect(await blobs.has(EMPTY_DIGEST)).toBe(false)
    const writer = blobs.openWrite()
    await writer.write(Buffer.from('x86_64-linux'))
    expect((await writer.close()).hex).toBe(DIGEST.hex)
    expect(await store.has(DIGEST)).toBe(true)
  })

  test('a peer of neither is named, and its lack is no absence', async () => {
    using peer = await serveBlobsAs(undefined, memoryBlobService())
    const error = await failure(grpcBlobService(peer.channel).chunks(DIGEST))
    expect(error.code).toBe('unimplemented')
    expect(error.message).toContain('neither tvix.castore.v1.BlobService nor snix.castore.v1.BlobService')
  })
})

describe('peers that are not there', () => {
  test('the error names address and procedure', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as { port: number }
    probe.close()
    const channel = await openGrpcChannel(`grpc+http://127.0.0.1:${port}`)
    const calls = [
      grpcBlobService(channel).has(DIGEST),
      grpcDirectoryService(channel).get(DIGEST),
      grpcPathInfoService(channel).get(new Uint8Array(20)),
    ]
    for (const error of await Promise.all(calls.map(failure))) {
      expect(error.code).toBe('unavailable')
      expect(error.message).toMatch(new RegExp(`^grpc\\+http://127.0.0.1:${port}: tvix[^ ]+: .*ECONNREFUSED`))
    }
    channel.close()
  })

  test('wait-connect=1 fails at once, wait-connect=0 later', async () => {
    const address = 'grpc+unix:///nonexistent/socket'
    expect((await failure(openGrpcChannel(`${address}?wait-connect=1`))).code).toBe('unavailable')
    const lazy = await openGrpcChannel(`${address}?wait-connect=0`)
    lazy.close()
    await using server = await startTestServer()
    const eager = await openGrpcChannel(`${server.address}?wait-connect=1`)
    eager.close()
  })

  test('one that accepts and stays silent is left when the caller leaves', async () => {
    const sockets: Socket[] = []
    const mute = createServer((socket) => sockets.push(socket)).listen(0, '127.0.0.1')
    await once(mute, 'listening')
    const { port } = mute.address() as { port: number }
    const channel = await openGrpcChannel(`grpc+http://127.0.0.1:${port}`)
    const reason = new StoreError('deadline', 'the mount gave up')
    const controller = new AbortController()
    const asked = grpcBlobService(channel).has(DIGEST, { signal: controller.signal })
    await once(mute, 'connection')
    controller.abort(reason)
    expect(await failure(asked)).toBe(reason)
    channel.close()
    for (const socket of sockets) socket.destroy()
    mute.close()
  })

  test('a read waits for one that is about to come back', async () => {
    const first = await startTestServer()
    const writer = grpcBlobService(first.channel).openWrite()
    await writer.close()
    await first[Symbol.asyncDispose]()
    const channel = await openGrpcChannel(first.address)
    const asked = grpcBlobService(channel).has(EMPTY_DIGEST)
    await using _second = await startTestServer(first.bound)
    expect(await asked).toBe(false)
    channel.close()
  })
})

/** Passes bytes on until it is cut. */
async function startProxy(target: string) {
  const sockets = new Set<Socket>()
  const [host, port] = target.split(':') as [string, string]
  const server = createServer((near) => {
    const far = connect(Number(port), host)
    near.pipe(far).pipe(near)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `grpc+http://127.0.0.1:${(server.address() as { port: number }).port}`,
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy()
    },
    [Symbol.dispose]() {
      this.cut()
      server.close()
    },
  }
}

describe('peers that go away', () => {
  test('a connection that is reset in the middle is unavailable, and the next call works', async () => {
    const { blobs, state } = endlessBlobs()
    await using server = await startTestServer('127.0.0.1:0', { blobs })
    using proxy = await startProxy(server.bound)
    const channel = await openGrpcChannel(proxy.address)
    const client = grpcBlobService(channel)
    const stream = (await client.openRead(DIGEST))![Symbol.asyncIterator]()
    await stream.next()
    proxy.cut()
    const drain = async () => {
      while (!(await stream.next()).done) {}
    }
    expect((await failure(drain())).code).toBe('unavailable')
    expect(await client.has(DIGEST)).toBe(false)
    expect(await settled(() => state.released)).toBe(1)
    channel.close()
  })

  test('a server that is stopped in the middle is unavailable, and back on the same address it works', async () => {
    const { blobs } = endlessBlobs()
    const first = await startTestServer('127.0.0.1:0', { blobs })
    const channel = await openGrpcChannel(first.address)
    const client = grpcBlobService(channel)
    const stream = (await client.openRead(DIGEST))![Symbol.asyncIterator]()
    await stream.next()
    await first[Symbol.asyncDispose]()
    const drain = async () => {
      while (!(await stream.next()).done) {}
    }
    expect((await failure(drain())).code).toBe('unavailable')
    await using _second = await startTestServer(first.bound)
    await vi.waitFor(async () => expect(await client.openRead(DIGEST)).toBeUndefined(), { timeout: 5_000 })
    channel.close()
  })

  test.each(['reset', 'cancelled'])(
    'an upload that is %s half-way is given up on the server',
    async (how) => {
      const outcome = { closed: 0, aborted: 0 }
      const arrived = Promise.withResolvers<void>()
      const openWrite = (): BlobWriter => ({
        write: async () => arrived.resolve(),
        async close() {
          outcome.closed++
          return EMPTY_DIGEST
        },
        abort: async () => void outcome.aborted++,
      })
      await using server = await startTestServer('127.0.0.1:0', { blobs: { ...memoryBlobs(), openWrite } })
      using proxy = await startProxy(server.bound)
      const channel = await openGrpcChannel(proxy.address)
      const writer = grpcBlobService(channel).openWrite()
      await writer.write(PIECE)
      await arrived.promise
      if (how === 'reset') proxy.cut()
      else await writer.abort()
      const rest = async () => {
        for (;;) await writer.write(PIECE)
      }
      expect((await failure(rest())).code).toBe(how === 'reset' ? 'unavailable' : 'cancelled')
      await settled(() => outcome.aborted + outcome.closed)
      expect(outcome).toEqual({ closed: 0, aborted: 1 })
      channel.close()
    },
  )
})

describe('backpressure and leaving', () => {
  test('a slow reader holds its source back', async () => {
    const { blobs, state } = endlessBlobs()
    await using server = await startTestServer('127.0.0.1:0', { blobs })
    const stream = (await grpcBlobService(server.channel).openRead(DIGEST))![Symbol.asyncIterator]()
    await stream.next()
    expect(await settled(() => state.taken)).toBeLessThan(PIECES_UNDERWAY_MAX)
    await stream.return!()
    expect(await settled(() => state.released)).toBe(1)
  })

  test.each([
    ['while they are few, the next message is made while one leaves', 4, 1],
    ['in a crowd it is made when that one has left', GRPC_STREAMS_AHEAD_MAX + 1, 0],
  ])('%s', async (_, others, ahead) => {
    const waiting: string[] = []
    let made = 0
    let most = 0
    /** Says how many of its pieces were not given back when the next was asked for. */
    async function* pieces() {
      for (; made < 2 * PIECES_UNDERWAY_MAX; made++) {
        most = Math.max(most, out)
        out++
        yield new Uint8Array(GRPC_BLOB_MESSAGE_BYTES)
      }
    }
    let out = 0
    const openRead = async (digest: Digest, call?: Call): Promise<BlobStream> => {
      if (digest.equals(DIGEST)) {
        const own = pieces()
        return { [Symbol.asyncIterator]: () => own, giveBack: () => out-- }
      }
      waiting.push(digest.hex)
      await once(call!.signal!, 'abort')
      throw new StoreError('cancelled', 'nobody waits for it any more')
    }
    await using server = await startTestServer('127.0.0.1:0', { blobs: { ...memoryBlobs(), openRead } })
    const client = grpcBlobService(server.channel)
    const left = Array.from({ length: others }, (_, i) =>
      failure(client.openRead(Digest.of(Buffer.from(`other ${i}`))).then(() => {})),
    )
    await vi.waitFor(() => expect(waiting).toHaveLength(others), { timeout: 5_000 })
    let received = 0
    for await (const piece of (await client.openRead(DIGEST))!) received += piece.length
    expect(received).toBe(made * GRPC_BLOB_MESSAGE_BYTES)
    expect(most).toBe(ahead)
    server.channel.close()
    await server.server.shutdown(0)
    await Promise.all(left)
  })

  test('a slow writer holds its uploader back', async () => {
    const stuck = Promise.withResolvers<void>()
    const openWrite = (): BlobWriter => ({
      write: () => stuck.promise,
      close: async () => EMPTY_DIGEST,
      abort: async () => {},
    })
    await using server = await startTestServer('127.0.0.1:0', { blobs: { ...memoryBlobs(), openWrite } })
    const writer = grpcBlobService(server.channel).openWrite()
    let written = 0
    const upload = async () => {
      for (; written < 1000; written++) await writer.write(PIECE)
    }
    const done = failure(upload())
    expect(await settled(() => written)).toBeLessThan(PIECES_UNDERWAY_MAX)
    await writer.abort()
    expect((await done).code).toBe('cancelled')
    stuck.resolve()
  })

  test('leaving a stream before its first piece is read cancels it', async () => {
    const { blobs, state } = endlessBlobs()
    await using server = await startTestServer('127.0.0.1:0', { blobs })
    const stream = await grpcBlobService(server.channel).openRead(DIGEST)
    await stream![Symbol.asyncIterator]().return!()
    expect(await settled(() => state.released)).toBe(1)
  })

  test('an aborted signal ends a stream with its reason', async () => {
    const { blobs, state } = endlessBlobs()
    await using server = await startTestServer('127.0.0.1:0', { blobs })
    const controller = new AbortController()
    const stream = await grpcBlobService(server.channel).openRead(DIGEST, { signal: controller.signal })
    const drain = async () => {
      for await (const _ of stream!) controller.abort(new StoreError('deadline', 'too slow'))
    }
    expect(await failure(drain())).toMatchObject({ code: 'deadline', message: 'too slow' })
    expect(await settled(() => state.released)).toBe(1)
  })

  test('what the server says of an upload surfaces while it is written', async () => {
    const full = () => Promise.reject(new StoreError('exhausted', 'the disk is full'))
    const openWrite = (): BlobWriter => ({ write: full, close: full, abort: async () => {} })
    await using server = await startTestServer('127.0.0.1:0', { blobs: { ...memoryBlobs(), openWrite } })
    const writer = grpcBlobService(server.channel).openWrite()
    const upload = async () => {
      for (;;) await writer.write(PIECE)
    }
    const error = await failure(upload())
    expect(error).toMatchObject({ code: 'exhausted' })
    expect(error.message).toContain('the disk is full')
    await writer.abort()
  })
})

test('an answer that does not decode is the fault of the peer', async () => {
  const raw = (bytes: Buffer) => ({ ...memoryBlobs(), chunks: async () => [{ digest: { bytes }, size: 1 }] })
  await using server = await startTestServer('127.0.0.1:0', {
    blobs: raw(Buffer.from('short')) as unknown as BlobService,
  })
  const error = await failure(grpcBlobService(server.channel).chunks(DIGEST))
  expect(error.code).toBe('corrupt')
  expect(error.message).toContain('invalid digest length: 5')
})
