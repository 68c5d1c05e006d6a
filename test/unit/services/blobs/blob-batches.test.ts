import { expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { BlobBatches } from '../../../../src/services/blobs/blob-batches.ts'
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
