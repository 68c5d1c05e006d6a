import { describe, expect, it, test } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import type { BlobService, BlobStream, ChunkMeta } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { vectorBlob } from '../../../support/vectors.ts'

const BLOB_B = vectorBlob('BLOB_B')
const DIGEST = Digest.of(BLOB_B)
const HALVES = [BLOB_B.subarray(0, 500_000), BLOB_B.subarray(500_000)]

/** A service that serves `pieces` under every digest, and what became of its stream. */
function serving(pieces: readonly Uint8Array[], failure?: Error) {
  const state = { released: false }
  async function* stream(): BlobStream {
    try {
      yield* pieces
      if (failure) throw failure
    } finally {
      state.released = true
    }
  }
  const base: BlobService = { ...memoryBlobService(), openRead: async () => stream() }
  return { blobs: verifyingBlobService(base, 'grpc+http://upstream'), state }
}

function listing(chunks: readonly ChunkMeta[] | undefined): BlobService {
  return verifyingBlobService({ ...memoryBlobService(), chunks: async () => chunks }, 'grpc+http://upstream')
}

/** How many bytes a reader gets to see, and how it ends. */
async function read(blobs: BlobService, digest: Digest): Promise<{ bytes: number; error: unknown }> {
  let bytes = 0
  try {
    for await (const piece of (await blobs.openRead(digest))!) bytes += piece.length
  } catch (error) {
    return { bytes, error }
  }
  return { bytes, error: undefined }
}

describe('a stream', () => {
  it('passes when it has the digest asked for', async () => {
    for (const pieces of [[BLOB_B], HALVES, [HALVES[0]!, new Uint8Array(0), HALVES[1]!, new Uint8Array(0)]])
      expect(await read(serving(pieces).blobs, DIGEST)).toEqual({ bytes: BLOB_B.length, error: undefined })
    expect(await read(serving([]).blobs, EMPTY_DIGEST)).toEqual({ bytes: 0, error: undefined })
  })

  const lies: Readonly<Record<string, readonly Uint8Array[]>> = {
    'with one bit flipped': [HALVES[0]!, HALVES[1]!.map((byte, i) => (i === 7 ? byte ^ 1 : byte))],
    'with one bit flipped in its only piece': [BLOB_B.map((byte, i) => (i === 7 ? byte ^ 1 : byte))],
    'without its last byte': [HALVES[0]!, HALVES[1]!.subarray(0, -1)],
    'without its last piece': [HALVES[0]!],
    'without any piece': [],
    'with a byte too many': [BLOB_B, Uint8Array.of(0)],
    'with a piece twice': [HALVES[0]!, HALVES[0]!, HALVES[1]!],
    'with its pieces swapped': [HALVES[1]!, HALVES[0]!],
  }
  for (const [title, pieces] of Object.entries(lies))
    it(`${title} fails before its last piece is released`, async () => {
      const { bytes, error } = await read(serving(pieces).blobs, DIGEST)
      const before = pieces.slice(0, -1).reduce((sum, piece) => sum + piece.length, 0)
      expect(bytes).toBe(before)
      expect(error).toMatchObject({ code: 'corrupt' })
      const { message } = error as StoreError
      expect(message).toContain(String(DIGEST))
      expect(message).toContain('grpc+http://upstream')
      expect(message).toContain(String(Digest.of(Buffer.concat(pieces))))
    })

  it('passes an error of the base on and holds its last piece back', async () => {
    const failure = new StoreError('unavailable', 'connection lost')
    expect(await read(serving(HALVES, failure).blobs, DIGEST)).toEqual({
      bytes: HALVES[0]!.length,
      error: failure,
    })
  })

  it('releases the base when the reader leaves', async () => {
    const { blobs, state } = serving(HALVES)
    for await (const _ of (await blobs.openRead(DIGEST))!) break
    expect(state.released).toBe(true)
  })
})

describe('a chunk list', () => {
  const other = Digest.of(Uint8Array.of(1))
  const faults: Readonly<Record<string, readonly ChunkMeta[]>> = {
    'with a chunk of no bytes': [
      { digest: other, size: 0 },
      { digest: other, size: 1 },
    ],
    'with a chunk of negative size': [
      { digest: other, size: -1 },
      { digest: other, size: 2 },
    ],
    'with half a byte': [
      { digest: other, size: 0.5 },
      { digest: other, size: 1 },
    ],
    'of one chunk that is another blob': [{ digest: other, size: 1 }],
    'that contains the blob itself': [
      { digest: DIGEST, size: 1 },
      { digest: other, size: 1 },
    ],
    'of more than 2^53 bytes': [
      { digest: other, size: Number.MAX_SAFE_INTEGER },
      { digest: other, size: 1 },
    ],
  }
  for (const [title, chunks] of Object.entries(faults))
    it(`${title} is corrupt`, async () => {
      await expect(listing(chunks).chunks(DIGEST)).rejects.toMatchObject({ code: 'corrupt' })
    })

  it('of the empty blob has no chunks', async () => {
    const chunks = [
      { digest: other, size: 1 },
      { digest: other, size: 1 },
    ]
    await expect(listing(chunks).chunks(EMPTY_DIGEST)).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('passes when nothing is wrong with it', async () => {
    for (const chunks of [
      undefined,
      [],
      [{ digest: DIGEST, size: 9 }],
      [
        { digest: other, size: 1 },
        { digest: other, size: 2 },
      ],
    ])
      expect(await listing(chunks).chunks(DIGEST)).toEqual(chunks)
  })
})

test('a writer whose base returns a false digest fails to close', async () => {
  const base = memoryBlobService()
  const lying: BlobService = {
    ...base,
    openWrite: () => ({ write: async () => {}, close: async () => EMPTY_DIGEST, abort: async () => {} }),
  }
  const writer = verifyingBlobService(lying, 'the bucket').openWrite()
  await writer.write(HALVES[0]!)
  await writer.write(HALVES[1]!)
  const error: unknown = await writer.close().catch((error: unknown) => error)
  expect(error).toBeInstanceOf(StoreError)
  expect(error).toMatchObject({ code: 'corrupt' })
  expect((error as StoreError).message).toContain(String(DIGEST))
})
