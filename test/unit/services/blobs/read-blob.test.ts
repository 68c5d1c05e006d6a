import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import { UNCHUNKED_BLOB_BYTES_MAX } from '../../../../src/support/limits.ts'
import { vectorBlob } from '../../../support/vectors.ts'

const BLOB_B = vectorBlob('BLOB_B')
const DIGEST = Digest.of(BLOB_B)

async function storing(contents: Uint8Array): Promise<BlobService> {
  const blobs = memoryBlobService()
  const writer = blobs.openWrite()
  await writer.write(contents)
  await writer.close()
  return blobs
}

/** Says it has `count` MiB, out of a single one. */
function endless(count: number) {
  const state = { yielded: 0 }
  const piece = new Uint8Array(1024 * 1024)
  const blobs: BlobService = {
    ...memoryBlobService(),
    openRead: async () =>
      (async function* () {
        for (; state.yielded < count; state.yielded++) yield piece
      })(),
  }
  return { blobs, state }
}

test('reads a whole blob, of the size expected or of any', async () => {
  const blobs = await storing(BLOB_B)
  for (const size of [undefined, BLOB_B.length])
    expect(Buffer.compare((await readBlob(blobs, DIGEST, size))!, BLOB_B)).toBe(0)
})

test('is undefined for an absent blob', async () => {
  expect(await readBlob(memoryBlobService(), DIGEST, 5)).toBeUndefined()
})

test('refuses a blob of another size', async () => {
  const blobs = await storing(BLOB_B)
  for (const size of [0, BLOB_B.length - 1, BLOB_B.length + 1])
    await expect(readBlob(blobs, DIGEST, size)).rejects.toMatchObject({ code: 'corrupt' })
})

test('stops reading at the limit', async () => {
  const { blobs, state } = endless(10_000)
  await expect(readBlob(blobs, DIGEST)).rejects.toMatchObject({ code: 'exhausted' })
  expect(state.yielded).toBe(UNCHUNKED_BLOB_BYTES_MAX / (1024 * 1024))
})

test('does not begin to read what will be too large', async () => {
  const { blobs, state } = endless(1)
  const read = readBlob(blobs, DIGEST, UNCHUNKED_BLOB_BYTES_MAX + 1)
  await expect(read).rejects.toMatchObject({ code: 'exhausted' })
  expect(state.yielded).toBe(0)
})
