/** Chunks from afar, decompressed and compared in the thread pool: right bytes, or nothing, and then the usual way tells why. */
import { zstdCompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { chunkKey } from '../../../../src/services/blobs/object-keys.ts'
import { objectStoreBlobService } from '../../../../src/services/blobs/object-store.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { memoryObjectStore } from '../../../../src/services/objects/memory.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { CHUNK_BYTES_MAX } from '../../../../src/support/limits.ts'
import { nativeCodec } from '../../../../src/support/native-codec.ts'
import { overriding } from '../../../support/overriding-objects.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'

const CHUNK = pseudoRandom(300_000, 1)
const DIGEST = Digest.of(CHUNK)

/** A store with `frames` in the place of the chunk, or nothing. */
async function storeOf(frames: Uint8Array | undefined) {
  const objects = memoryObjectStore()
  if (frames) await objects.put(chunkKey(DIGEST), frames)
  let asked = 0
  const counting = overriding(objects, {
    get: (key, call) => {
      asked++
      return objects.get(key, call)
    },
  })
  const blobs = verifyingBlobService(objectStoreBlobService(counting), 'here')
  return { blobs, read: (size: number) => blobs.readChunk!({ digest: DIGEST, size }), asked: () => asked }
}

describe.skipIf(!nativeCodec)('a chunk from afar', () => {
  it.each([
    ['one frame', zstdCompressSync(CHUNK)],
    ['two', Buffer.concat([CHUNK.subarray(0, 7), CHUNK.subarray(7)].map((part) => zstdCompressSync(part)))],
  ])('in %s', async (_, frames) => {
    const { read } = await storeOf(frames)
    const many = await Promise.all(Array.from({ length: 20 }, () => read(CHUNK.length)))
    for (const found of many) expect(Buffer.compare(found!, CHUNK)).toBe(0)
  })

  const other = pseudoRandom(300_000, 2)
  it.each([
    ['of other contents', zstdCompressSync(other)],
    ['that is longer', zstdCompressSync(Buffer.concat([CHUNK, other]))],
    ['that is shorter', zstdCompressSync(CHUNK.subarray(1))],
    ['that is cut', zstdCompressSync(CHUNK).subarray(0, -1)],
    ['that is no frame', other],
    ['of nothing', new Uint8Array(0)],
  ])('%s is not given; the usual way tells', async (_, frames) => {
    const { blobs, read } = await storeOf(frames)
    expect(await read(CHUNK.length)).toBeUndefined()
    await expect(readBlob(blobs, DIGEST)).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('of another size than its list says is not given', async () => {
    const { read } = await storeOf(zstdCompressSync(CHUNK))
    for (const size of [CHUNK.length - 1, CHUNK.length + 1]) expect(await read(size)).toBeUndefined()
  })

  it('that is absent is not given', async () => {
    const { read, asked } = await storeOf(undefined)
    expect(await read(CHUNK.length)).toBeUndefined()
    expect(asked()).toBe(1)
  })

  it.each([1_000, CHUNK_BYTES_MAX + 1])('of %i bytes is not even asked for', async (size) => {
    const { read, asked } = await storeOf(zstdCompressSync(CHUNK))
    expect(await read(size)).toBeUndefined()
    expect(asked()).toBe(0)
  })

  it('that cannot be asked for is an error', async () => {
    const failing = overriding(memoryObjectStore(), {
      get: async () => {
        throw new StoreError('unavailable', 'gone')
      },
    })
    const reading = objectStoreBlobService(failing).readChunk!({ digest: DIGEST, size: CHUNK.length })
    await expect(reading).rejects.toMatchObject({ code: 'unavailable' })
  })
})
