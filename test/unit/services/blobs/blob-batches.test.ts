import { expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { BlobBatches } from '../../../../src/services/blobs/blob-batches.ts'
import { blobKey, chunkKey } from '../../../../src/services/blobs/object-keys.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'

it('ends a batch when the last who waits for it leaves, also after others had their answer', async () => {
  const left = new AbortController()
  const ended = Promise.withResolvers<void>()
  const failed = new StoreError('unavailable', 'no room')
  const batches = new BlobBatches(async (objects, call) => {
    // The chunks come first, of which one fails; the list of the other never arrives.
    if (call?.zstd) return objects.map((_, i) => (i === 0 ? failed : undefined))
    call?.signal?.addEventListener('abort', () => ended.resolve())
    left.abort()
    return await new Promise<never>(() => {})
  })
  const [first, second] = [Buffer.from('first'), Buffer.from('second')]
  const stored = [
    batches.storeBlob(Digest.of(first), first),
    batches.storeBlob(Digest.of(second), second, { signal: left.signal }),
  ]
  const outcomes = await Promise.allSettled(stored)
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await ended.promise
})

it('stores lists beside the chunks of others, as they are, and tells each caller of its own failure', async () => {
  const failed = new StoreError('unavailable', 'no room')
  const calls: { keys: readonly string[]; zstd: boolean }[] = []
  const batches = new BlobBatches(async (objects, call) => {
    calls.push({ keys: objects.map(({ key }) => key), zstd: call?.zstd === true })
    return objects.map(({ body }) => (Buffer.from(body).toString() === 'bad list' ? failed : undefined))
  })
  const [chunk, good, bad] = ['chunk', 'good list', 'bad list'].map((text) => Buffer.from(text)) as [
    Buffer,
    Buffer,
    Buffer,
  ]
  const [first, second] = [Digest.of(utf8('first blob')), Digest.of(utf8('second blob'))]
  const outcomes = await Promise.allSettled([
    batches.storeList(first, good),
    batches.storeList(second, bad),
    batches.storeChunk(Digest.of(chunk), chunk),
  ])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(calls).toEqual([
    { keys: [blobKey(first), blobKey(second)], zstd: false },
    { keys: [chunkKey(Digest.of(chunk))], zstd: true },
  ])
})

it('stores a blob and its list in one go where all of it becomes visible at once, and settles after both', async () => {
  const failed = new StoreError('unavailable', 'no room')
  const calls: string[][] = []
  const batches = new BlobBatches(async (objects, call) => {
    expect(call?.zstd).toBe(true)
    calls.push(objects.map(({ key }) => key))
    return objects.map(({ key }) => (key === blobKey(Digest.of(utf8('lost'))) ? failed : undefined))
  }, true)
  const contents = ['', 'blob', 'lost'].map((text) => Buffer.from(text))
  const [empty, blob, lost] = contents.map((bytes) => Digest.of(bytes)) as [Digest, Digest, Digest]
  const outcomes = await Promise.allSettled([
    batches.storeBlob(empty, contents[0]!),
    batches.storeBlob(blob, contents[1]!),
    batches.storeBlob(lost, contents[2]!),
    batches.storeChunk(blob, contents[1]!),
  ])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
  expect(calls).toEqual([
    [blobKey(empty), chunkKey(blob), blobKey(blob), chunkKey(lost), blobKey(lost), chunkKey(blob)],
  ])
})
