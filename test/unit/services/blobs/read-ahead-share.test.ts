import { expect, test } from 'vitest'
import { ReadAheadShare } from '../../../../src/services/blobs/read-ahead-share.ts'
import { mapConcurrent } from '../../../../src/support/concurrency.ts'
import { CHUNK_READS_MAX, CHUNK_READS_OF_ALL_MAX } from '../../../../src/support/limits.ts'

async function* portions() {
  for (;;) yield [Buffer.alloc(1)]
}

test('the more streams, the less each reads ahead, until they are left', async () => {
  const share = new ReadAheadShare()
  const streams = Array.from({ length: 2 * CHUNK_READS_OF_ALL_MAX }, () => share.stream(portions()))
  expect(share.width).toBe(CHUNK_READS_MAX)
  for (const [i, stream] of streams.entries()) {
    await stream.next()
    expect(share.width).toBeGreaterThanOrEqual(1)
    expect(share.width * (i + 1)).toBeLessThanOrEqual(Math.max(CHUNK_READS_OF_ALL_MAX, i + 1))
    expect(share.isCrowded).toBe(i + 1 > CHUNK_READS_OF_ALL_MAX)
    expect(share.isBusy).toBe(i + 1 > CHUNK_READS_OF_ALL_MAX / CHUNK_READS_MAX)
  }
  for (const stream of streams) await stream.return(undefined)
  expect(share).toMatchObject({ width: CHUNK_READS_MAX, isBusy: false, isCrowded: false })
})

test('what was begun when there were few is handed out before anything more is begun', async () => {
  let width = 4
  let begun = 0
  const results = mapConcurrent(
    Array.from({ length: 20 }, (_, i) => i),
    () => width,
    async (item) => {
      begun++
      return item
    },
  )
  expect((await results.next()).value).toBe(0)
  expect(begun).toBe(4)
  width = 1
  for (let i = 1; i < 20; i++) {
    expect((await results.next()).value).toBe(i)
    expect(begun).toBe(Math.max(4, i + 1))
  }
  expect((await results.next()).done).toBe(true)
})
