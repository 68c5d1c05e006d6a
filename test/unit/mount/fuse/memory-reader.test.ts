import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { MemoryReader } from '../../../../src/mount/fuse/memory-reader.ts'
import { ReadPlan } from '../../../../src/mount/tree/read-plan.ts'
import { concatBytes } from '../../../../src/support/bytes.ts'
import { FUSE_READ_BYTES_MAX, MEMORY_READS_MAX } from '../../../../src/support/limits.ts'
import { CHUNK_FOLDERS, type ChunkFolder } from '../../../support/chunk-folders.ts'
import { until } from '../../../support/cli.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const CHUNKS = [100_000, 1, 250_000, 70_001].map((size, seed) => pseudoRandom(size, seed))
const ALL = concatBytes(CHUNKS)
const BLOB = Digest.of(ALL).bytes
const copied = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes)

/** The bytes `start` to `end` of all chunks, one behind the other. */
function planOf(start: number, end: number): ReadPlan {
  const plan = new ReadPlan()
  plan.begin(BLOB)
  let offset = 0
  for (const chunk of CHUNKS) {
    const [from, to] = [Math.max(0, start - offset), Math.min(chunk.length, end - offset)]
    if (from < to) plan.add(Digest.of(chunk).bytes, chunk.length, offset, from, to)
    offset += chunk.length
  }
  return plan
}

describe.each(Object.entries(CHUNK_FOLDERS))('chunks that lie %s', (_, make) => {
  let dir: Awaited<ReturnType<typeof tempDir>>
  let chunks: ChunkFolder
  let reader: MemoryReader

  beforeEach(async () => {
    dir = await tempDir()
    chunks = make(dir.path, CHUNKS)
    reader = new MemoryReader(chunks.source)
  })

  afterEach(async () => {
    await reader[Symbol.asyncDispose]()
    await dir[Symbol.asyncDispose]()
  })

  /** A copy, made as soon as the answer is there. */
  async function read(start: number, end: number): Promise<Buffer | undefined> {
    return copied(await reader.read(planOf(start, end), end - start))
  }

  test('puts parts of chunks together, at once where it has them', async () => {
    for (const index of CHUNKS.keys()) chunks.put(index)
    expect((await read(0, ALL.length))?.equals(ALL)).toBe(true)
    for (const [start, end] of [
      [99_999, 100_002],
      [5, 6],
      [120_000, 350_002],
      [350_000, ALL.length],
    ] as const)
      expect((await read(start, end))?.equals(ALL.subarray(start, end))).toBe(true)
    const known = reader.read(planOf(150_000, 200_000), 50_000)
    expect(known).toBeInstanceOf(Uint8Array)
    expect(copied(known as Uint8Array)?.equals(ALL.subarray(150_000, 200_000))).toBe(true)
  })

  test('has nothing where one chunk is missing or not what it should be', async () => {
    for (const index of [0, 1, 2]) chunks.put(index)
    expect(await read(0, ALL.length)).toBeUndefined()
    expect((await read(0, ALL.length - 70_001))?.length).toBe(ALL.length - 70_001)
    chunks.put(3, new Uint8Array(CHUNKS[3]!).reverse())
    // As a whole, and a part of it, which would be kept.
    for (const start of [ALL.length - 70_001, ALL.length - 7])
      expect(await read(start, ALL.length)).toBeUndefined()
    chunks.put(3)
    expect((await read(ALL.length - 7, ALL.length))?.equals(ALL.subarray(-7))).toBe(true)
  })

  test('has at once what was loaded ahead, and reads as before what could not be', async () => {
    for (const index of [0, 1, 2]) chunks.put(index)
    await until(async () => {
      chunks.put(2)
      reader.keepAhead(planOf(150_000, ALL.length))
      // It begins when the event loop turns.
      await new Promise(setImmediate)
      expect((await read(0, 1))?.length).toBe(1)
      // Whoever has it now did not read it now.
      chunks.put(2, new Uint8Array(CHUNKS[2]!).reverse())
      const answer = reader.read(planOf(150_000, 160_000), 10_000)
      await answer
      return answer instanceof Uint8Array
    })
    expect((await read(100_001, 350_001))?.equals(ALL.subarray(100_001, 350_001))).toBe(true)
    chunks.put(2)
    expect(await read(ALL.length - 9, ALL.length)).toBeUndefined()
    chunks.put(3)
    expect((await read(ALL.length - 9, ALL.length))?.equals(ALL.subarray(-9))).toBe(true)
    // Far more at a time than is done.
    for (let i = 0; i < 100; i++) reader.keepAhead(planOf(i, ALL.length))
    await new Promise(setImmediate)
    expect((await read(0, ALL.length))?.equals(ALL)).toBe(true)
  })

  test('takes a bounded number of reads at once, and none that is too long', async () => {
    for (const index of CHUNKS.keys()) chunks.put(index)
    const reads = Array.from({ length: MEMORY_READS_MAX + 3 }, (_, i) =>
      reader.read(planOf(i, i + 300_000), 300_000),
    )
    expect(reads.slice(MEMORY_READS_MAX)).toEqual([undefined, undefined, undefined])
    const answers = await Promise.all(reads.map(async (answer) => copied(await answer)))
    for (const [i, answer] of answers.slice(0, MEMORY_READS_MAX).entries())
      expect(answer?.equals(ALL.subarray(i, i + 300_000))).toBe(true)
    expect(reader.read(planOf(0, 10), FUSE_READ_BYTES_MAX + 1)).toBeUndefined()
    // What was read is good until the event loop turns, and its memory is used again then.
    await new Promise(setImmediate)
    expect((await read(3, 9))?.equals(ALL.subarray(3, 9))).toBe(true)
  })

  test('reads nothing more after its end', async () => {
    chunks.put(0)
    expect((await read(0, 9))?.length).toBe(9)
    await reader[Symbol.asyncDispose]()
    expect(reader.read(planOf(0, 9), 9)).toBeUndefined()
    reader.keepAhead(planOf(0, 9))
  })
})
