/** Reads of raw files that were hashed before: not again, and never of what was written since. */
import { utimesSync } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { MemoryReader } from '../../../../src/mount/fuse/memory-reader.ts'
import { ReadPlan } from '../../../../src/mount/tree/read-plan.ts'
import type { RawBlobs } from '../../../../src/services/blobs/chunk-places.ts'
import { openFileBlobService } from '../../../../src/services/blobs/file-blobs.ts'
import { KnownFiles } from '../../../../src/services/blobs/known-files.ts'
import { FileVerification } from '../../../../src/services/blobs/verified-file.ts'
import { HASHED_MARK_BYTES_MIN, KNOWN_FILES_MS } from '../../../../src/support/limits.ts'
import { rawName } from '../../../support/chunk-folders.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const CONTENTS = pseudoRandom(3_000_001, 5)
const FILE = { digest: Digest.of(CONTENTS), size: CONTENTS.length }

let dir: Awaited<ReturnType<typeof tempDir>>
let source: RawBlobs
let reader: MemoryReader
let plan: ReadPlan
let path: string

beforeEach(async () => {
  dir = await tempDir()
  const blobs = await openFileBlobService(dir.path)
  const writer = blobs.openWrite()
  await writer.write(CONTENTS)
  await writer.close()
  source = blobs.localChunks as RawBlobs
  reader = new MemoryReader(source)
  plan = new ReadPlan(source)
  path = join(source.folder, rawName(FILE.digest))
})

afterEach(async () => {
  await reader[Symbol.asyncDispose]()
  await dir[Symbol.asyncDispose]()
})

function planned(start: number, end: number): boolean {
  plan.begin(FILE.digest.bytes)
  return plan.addKnown(FILE, start, end)
}

/** The first who asks is told, if the kernel has the path in memory; or else who asks once it was looked for. */
async function known(): Promise<void> {
  while (!planned(0, 1)) await new Promise(setImmediate)
}

async function read(start: number, end: number): Promise<Buffer | undefined> {
  expect(planned(start, end)).toBe(true)
  const bytes = await reader.read(plan, end - start)
  return bytes && Buffer.from(bytes)
}

async function flipByte(at: number): Promise<void> {
  await using file = await open(path, 'r+')
  await file.write(Buffer.of(CONTENTS[at]! ^ 1), 0, 1, at)
}

test('a file that was hashed as it was written is read without its chunks', async () => {
  await known()
  for (const [start, end] of [
    [0, 1_048_576],
    [1_048_575, 1_048_577],
    [2_900_000, CONTENTS.length],
    [70_000, 140_000],
  ] as const)
    expect((await read(start, end))?.equals(CONTENTS.subarray(start, end))).toBe(true)
})

test('what was written to it since is not shown, whatever its times say', async () => {
  await known()
  const { atime, mtime } = await stat(path)
  await flipByte(9)
  utimesSync(path, atime, mtime)
  expect((await stat(path)).mtime).toEqual(mtime)
  // In memory of the kernel, and not.
  for (const [start, end] of [
    [0, 100],
    [0, 1_000_000],
    [2_000_000, 2_000_001],
  ] as const)
    expect(await read(start, end)).toBeUndefined()
})

test('nor is another file in its place, or less of it', async () => {
  await known()
  await using file = await open(path, 'r+')
  await file.truncate(CONTENTS.length - 1)
  expect(await read(0, 100)).toBeUndefined()
  expect(await read(2_900_000, CONTENTS.length)).toBeUndefined()
})

test('a plan beyond the end of what is known, or too long, is none', async () => {
  await known()
  expect(planned(0, 1_048_577)).toBe(false)
  expect(planned(CONTENTS.length - 1, CONTENTS.length + 1)).toBe(true)
  expect(reader.read(plan, 2)).toBeUndefined()
})

test('a file that nobody hashed since it was written to is not known', async () => {
  await flipByte(9)
  await using file = await open(path, 'r')
  expect(await new FileVerification().known(file, FILE.digest)).toBeUndefined()
})

test('what is known is looked for again, beside the reads, and small files never', async () => {
  let [now, asked] = [0, 0]
  const states = [Uint8Array.of(1), undefined, Uint8Array.of(3)]
  const find = async () => {
    asked++
    const state = states.shift()
    if (!state) throw new Error('no such file')
    return state
  }
  const files = new KnownFiles({ find, findNow: () => undefined }, () => now)
  const state = () => files.state(FILE.digest, HASHED_MARK_BYTES_MIN)
  expect(files.state(FILE.digest, HASHED_MARK_BYTES_MIN - 1)).toBeUndefined()
  expect([state(), state()]).toEqual([undefined, undefined])
  await new Promise(setImmediate)
  expect(state()).toEqual(Uint8Array.of(1))
  expect(asked).toBe(1)
  now = KNOWN_FILES_MS
  expect(state()).toEqual(Uint8Array.of(1))
  await new Promise(setImmediate)
  expect(state()).toBeUndefined()
  now = 2 * KNOWN_FILES_MS
  state()
  await new Promise(setImmediate)
  expect(state()).toEqual(Uint8Array.of(3))
  expect(asked).toBe(3)
})
