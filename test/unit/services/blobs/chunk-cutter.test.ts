import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Chunker } from '../../../../src/model/castore/fastcdc.ts'
import { type ChunkCutter, PlainCutter, PoolCutter } from '../../../../src/services/blobs/chunk-cutter.ts'
import type { ChunkMeta } from '../../../../src/services/blobs/interface.ts'
import { type NativeChunker, nativeChunker } from '../../../../src/support/native-chunker.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { vectorBlob, vectors } from '../../../support/vectors.ts'

/** Gives the blob in pieces of these sizes, and the rest at the end, as its contract says. */
async function cutInPieces(cutter: ChunkCutter, bytes: Uint8Array, sizes: readonly number[]) {
  const metas: ChunkMeta[] = []
  let begin = 0
  let end = 0
  const cut = async (isLast: boolean) => {
    for (const meta of await cutter.cut(bytes.subarray(begin, end), isLast)) {
      metas.push(meta)
      begin += meta.size
    }
  }
  for (const size of sizes) {
    end = Math.min(bytes.length, end + size)
    await cut(false)
  }
  end = bytes.length
  await cut(true)
  return { chunks: metas.map(({ digest, size }) => `${digest.hex} ${size}`), digest: cutter.digest().hex }
}

async function same(native: NativeChunker, bytes: Uint8Array, avg: number, sizes: readonly number[]) {
  const chunker = new Chunker(avg)
  const ours = await cutInPieces(new PoolCutter(chunker, native), bytes, sizes)
  expect(ours).toEqual(await cutInPieces(new PlainCutter(chunker), bytes, []))
  expect(ours.digest).toBe(Digest.of(bytes).hex)
}

describe('the cutter in the thread pool', () => {
  const native = nativeChunker()!

  test('was built', () => {
    expect(nativeChunker()).toBeDefined()
  })

  test('cuts and digests as the plain one, however the blob comes', async () => {
    const bytes = fc.uint8Array({ maxLength: 9000, size: 'max' })
    const few = fc
      .array(fc.constantFrom(0, 1, 65, 255), { maxLength: 9000, size: 'max' })
      .map(Uint8Array.from.bind(Uint8Array))
    const sizes = fc.array(fc.integer({ min: 0, max: 4000 }), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fc.oneof(bytes, few), sizes, fc.constantFrom(64, 256, 1024), (blob, pieces, avg) =>
        same(native, blob, avg, pieces),
      ),
      { numRuns: 300 },
    )
  })

  // Where BLAKE3 changes from one chunk to a tree, from one lane to several, and from one width to the next.
  for (const chunks of [0, 1, 2, 3, 4, 8, 9, 16, 17, 32, 64, 65, 127, 128, 129, 1000])
    test(`digests blobs of about ${chunks} KiB`, async () => {
      for (const bytes of [1024 * chunks - 1, 1024 * chunks, 1024 * chunks + 1])
        if (bytes >= 0) await same(native, pseudoRandom(bytes, 7), 1 << 20, [])
    })

  // Of the blob whole subtrees are hashed at a time, and the last two may be the halves of the root.
  for (const chunks of [64, 65, 127, 128, 192, 256, 257])
    test(`digests blobs of about ${chunks} KiB that come and are cut in pieces`, async () => {
      for (const bytes of [1024 * chunks - 1, 1024 * chunks, 1024 * chunks + 1])
        for (const blob of [pseudoRandom(bytes, 8), new Uint8Array(bytes)])
          for (const piece of [40_000, 65_536, 66_560])
            await same(native, blob, 1024, Array(Math.ceil(bytes / piece)).fill(piece))
    })

  for (const { input, avg, chunks } of vectors.fastcdc.cases)
    test(`cuts ${input} with an average of ${avg} as the vectors say`, async () => {
      if (!/^BLOB|^ZEROES/.test(input)) return
      const bytes = input === 'ZEROES_1MiB' ? new Uint8Array(1 << 20) : vectorBlob(input)
      const found = await cutInPieces(new PoolCutter(new Chunker(avg), native), bytes, [])
      expect(found.chunks).toEqual(
        chunks.map(({ blake3_hex, size }: { blake3_hex: string; size: number }) => `${blake3_hex} ${size}`),
      )
    })

  test('a build that cuts elsewhere would be noticed', async () => {
    const broken: NativeChunker = {
      ...native,
      streamBytes: native.streamBytes,
      cut: (parameters, ...rest) => {
        const others = parameters.slice()
        others[7]! ^= 1n
        return native.cut(others, ...rest)
      },
    }
    await expect(same(broken, pseudoRandom(20_000, 3), 256, [])).rejects.toThrow()
  })

  test('refuses what is no state of a blob, and bytes that are none', () => {
    const { parameters } = new Chunker()
    const blob = new Uint8Array(native.streamBytes)
    const calls: readonly [BigUint64Array, Uint8Array, Uint8Array][] = [
      [parameters.slice(1), blob, blob],
      [parameters, blob.subarray(1), blob],
      [parameters, blob.slice().fill(255), blob],
      [parameters, blob, parameters as never],
    ]
    for (const [numbers, state, bytes] of calls)
      expect(native.cut(numbers, state, bytes, new Uint8Array(360), true)).toBeLessThan(0)
  })
})
