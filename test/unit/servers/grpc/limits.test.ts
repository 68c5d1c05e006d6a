/** Each limit of the server: what is just below it goes, what is just above is RESOURCE_EXHAUSTED and names it. */
import { Client, credentials, Metadata, status } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { Directory } from '../../../../src/model/castore/directory.ts'
import { blobChunk, getDirectoryRequest, statBlobRequest } from '../../../../src/model/wire/messages.ts'
import { CallLimits, type CallLimitValues } from '../../../../src/servers/grpc/call-limits.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { grpcDirectoryService } from '../../../../src/services/directories/grpc.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import {
  GRPC_METADATA_BYTES_MAX,
  GRPC_PEER_RECEIVE_BYTES,
  GRPC_RECEIVE_BYTES_MAX,
} from '../../../../src/support/limits.ts'
import { makeDirectory, symlinkNode } from '../../../support/directories.ts'
import { startTestServer } from '../../../support/grpc-server.ts'
import { rawClient } from './raw-client.ts'

const PUT = '/tvix.castore.v1.BlobService/Put'
const STAT = '/tvix.castore.v1.BlobService/Stat'
const GET_DIRECTORY = '/tvix.castore.v1.DirectoryService/Get'
const ABSENT = Digest.of(Buffer.from('absent'))

describe('the size of a message', () => {
  /** A BlobChunk of so many bytes in all. */
  const chunk = (bytes: number) => blobChunk.encode(new Uint8Array(bytes - 5))

  test('at the limit it is taken', async () => {
    await using server = await startTestServer()
    using client = rawClient(server.bound)
    const message = chunk(GRPC_RECEIVE_BYTES_MAX)
    expect(message.length).toBe(GRPC_RECEIVE_BYTES_MAX)
    expect(await client.call(PUT, message)).toMatchObject({ code: 'OK' })
  })

  test('above it is refused', async () => {
    await using server = await startTestServer()
    using client = rawClient(server.bound)
    const answer = await client.call(PUT, chunk(GRPC_RECEIVE_BYTES_MAX + 1))
    expect(answer).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: `a message of ${GRPC_RECEIVE_BYTES_MAX + 1} bytes is above the limit of ${GRPC_RECEIVE_BYTES_MAX} bytes a message`,
    })
  })
})

test('metadata', async () => {
  await using server = await startTestServer()
  const client = new Client(server.bound, credentials.createInsecure())
  const same = (bytes: Buffer) => bytes
  const stat = (valueBytes: number) => {
    const metadata = new Metadata()
    metadata.set('x', 'v'.repeat(valueBytes))
    const request = Buffer.from(statBlobRequest.encode({ digest: ABSENT.bytes, sendChunks: false }))
    return new Promise<{ code: number; details: string } | null>((resolve) =>
      client.makeUnaryRequest(STAT, same, same, request, metadata, resolve),
    )
  }
  // Libraries send some of their own, of which `user-agent` is the largest.
  expect(await stat(GRPC_METADATA_BYTES_MAX - 100)).toMatchObject({ code: status.NOT_FOUND })
  expect(await stat(GRPC_METADATA_BYTES_MAX)).toMatchObject({
    code: status.RESOURCE_EXHAUSTED,
    details: expect.stringContaining(`limit of ${GRPC_METADATA_BYTES_MAX} bytes of metadata`),
  })
  client.close()
})

/** Blobs whose writes wait until the test lets them go. */
function heldBlobs() {
  const gate = Promise.withResolvers<void>()
  const inner = memoryBlobService()
  let waiting = 0
  const blobs: BlobService = {
    has: (digest, call) => inner.has(digest, call),
    chunks: (digest, call) => inner.chunks(digest, call),
    openRead: (digest, call) => inner.openRead(digest, call),
    openWrite: (call) => {
      const writer = inner.openWrite(call)
      return {
        close: () => writer.close(),
        abort: () => writer.abort(),
        async write(bytes) {
          waiting++
          await gate.promise
          await writer.write(bytes)
        },
      }
    },
  }
  return { blobs, gate, waiting: () => waiting }
}

const HELD: [what: string, limits: Partial<CallLimitValues>, message: string][] = [
  ['calls on a connection', { streams: 3 }, 'limit of 3 calls at once on a connection (this would be 4)'],
  ['uploads', { uploads: 3 }, 'limit of 3 uploads at once (this would be 4)'],
  [
    'bytes of uploads in flight',
    { uploadBytesInFlight: 3 * 1002 },
    'limit of 3006 bytes of uploads in flight (this would be 4008)',
  ],
]

test.each(HELD)(
  '%s: three go, a fourth is refused, and goes when they are over',
  async (_, limits, message) => {
    const { blobs, gate, waiting } = heldBlobs()
    await using server = await startTestServer('127.0.0.1:0', { blobs, limits })
    using client = rawClient(server.bound)
    const upload = (fill: number) => client.call(PUT, blobChunk.encode(new Uint8Array(999).fill(fill)))
    const held = [1, 2, 3].map(upload)
    await expect.poll(waiting).toBe(3)
    expect(await upload(4)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: expect.stringContaining(message),
    })
    gate.resolve()
    expect((await Promise.all(held)).map(({ code }) => code)).toEqual(['OK', 'OK', 'OK'])
    expect(await upload(5)).toMatchObject({ code: 'OK' })
  },
)

test('metadata at the limit goes, one byte more does not', () => {
  const limits = new CallLimits({ metadataBytes: 100 })
  limits.checkMetadata(100)
  expect(() => limits.checkMetadata(101)).toThrow('above the limit of 100 bytes of metadata a call')
})

test('what was refused takes nothing', () => {
  const limits = new CallLimits({ uploads: 1 })
  const giveBack = limits.takeUpload()
  expect(() => limits.takeUpload()).toThrow(/limit of 1 uploads/)
  expect(() => limits.takeUpload()).toThrow(/this would be 2/)
  giveBack()
  limits.takeUpload()
})

describe('answers for a peer with default settings', () => {
  /** A directory whose encoding has a little more than 4 MiB. */
  function largeDirectory(): Directory {
    const node = symlinkNode(Buffer.alloc(4000, 'x'))
    const entries = Array.from({ length: 1100 }, (_, i) => [`link${String(i).padStart(5, '0')}`, node])
    return makeDirectory(Object.fromEntries(entries))
  }

  test('a directory that does not fit is a clear error, and our client gets it', async () => {
    const directory = largeDirectory()
    expect(directory.encoded.length).toBeGreaterThan(GRPC_PEER_RECEIVE_BYTES)
    const directories = memoryDirectoryService()
    const putter = directories.startPutter()
    await putter.put(directory)
    await putter.close()
    await using server = await startTestServer('127.0.0.1:0', { directories })
    using client = rawClient(server.bound)
    const request = getDirectoryRequest.encode({ digest: directory.digest.bytes, recursive: false })
    expect(await client.call(GET_DIRECTORY, request)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: expect.stringMatching(
        `the answer has ${directory.encoded.length} bytes, above the limit of ${GRPC_PEER_RECEIVE_BYTES} bytes a message`,
      ),
    })
    const ours = await grpcDirectoryService(server.channel).get(directory.digest)
    expect(ours?.digest.equals(directory.digest)).toBe(true)
  })

  test('a chunk list likewise', async () => {
    const list = Array.from({ length: 120_000 }, () => ({ digest: ABSENT, size: 1 }))
    const blobs: BlobService = { ...memoryBlobService(), has: async () => true, chunks: async () => list }
    await using server = await startTestServer('127.0.0.1:0', { blobs })
    using client = rawClient(server.bound)
    const request = statBlobRequest.encode({ digest: ABSENT.bytes, sendChunks: true })
    expect(await client.call(STAT, request)).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      details: expect.stringContaining(`limit of ${GRPC_PEER_RECEIVE_BYTES} bytes a message`),
    })
    expect(await grpcBlobService(server.channel).chunks(ABSENT)).toHaveLength(list.length)
  })
})
