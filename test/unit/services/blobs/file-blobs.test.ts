import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { open, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { CacheFolder } from '../../../../src/services/blobs/cache-folder.ts'
import { type FileBlobService, openFileBlobService } from '../../../../src/services/blobs/file-blobs.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import { nativeFileNotes } from '../../../../src/services/blobs/native-file-notes.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const LARGE = pseudoRandom(3_000_000, 1)
const SMALL = pseudoRandom(300, 2)

async function put(blobs: BlobService, ...pieces: readonly Uint8Array[]): Promise<Digest> {
  const writer = blobs.openWrite()
  for (const piece of pieces) await writer.write(piece)
  return await writer.close()
}

function fileOf(root: string, { hex }: Digest): string {
  return join(root, 'blobs', hex.slice(0, 2), hex)
}

async function flipBit(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+')
  const byte = Buffer.alloc(1)
  await file.read(byte, 0, 1, offset)
  byte[0]! ^= 1
  await file.write(byte, 0, 1, offset)
}

/** The whole blob as the kernel would read it, or what is wrong with it. */
async function localBytes(blobs: FileBlobService, digest: Digest): Promise<Buffer | undefined> {
  await using file = await blobs.openLocalFile(digest)
  return file && readFileSync(`/proc/self/fd/${file.fd}`)
}

describe('a store of raw files', () => {
  test('holds each blob as it is, where the format says, for who reads without us', async () => {
    await using dir = await tempDir()
    const blobs = await openFileBlobService(dir.path)
    for (const contents of [LARGE, SMALL, new Uint8Array(0)]) {
      const digest = await put(blobs, contents)
      expect(Buffer.compare(readFileSync(fileOf(dir.path, digest)), contents)).toBe(0)
    }
    expect(readFileSync(join(dir.path, 'version'), 'utf8')).toBe('tvix-store raw blobs 1\n')
    expect(readdirSync(join(dir.path, '.tmp'))).toEqual([])
  })

  test('tells an independent program where its chunks are', async () => {
    await using dir = await tempDir()
    const blobs = await openFileBlobService(dir.path)
    const digest = await put(blobs, LARGE)
    const list = (await blobs.chunks(digest))!
    expect(list.length).toBeGreaterThan(3)
    const chunk = list[2]!
    const script = `
import struct, sys
root, chunk = sys.argv[1:]
place = open(f'{root}/chunks/{chunk[:2]}/{chunk}', 'rb').read()
blob, (start, size) = place[:32].hex(), struct.unpack('<QQ', place[32:])
with open(f'{root}/blobs/{blob[:2]}/{blob}', 'rb') as file:
    file.seek(start)
    sys.stdout.buffer.write(file.read(size))
`
    const bytes = execFileSync('python3', ['-c', script, dir.path, chunk.digest.hex])
    expect(Digest.of(bytes).equals(chunk.digest)).toBe(true)
    expect(bytes.length).toBe(chunk.size)
  })

  test('gives chunks away by their digests, also after a restart', async () => {
    await using dir = await tempDir()
    const digest = await put(await openFileBlobService(dir.path), LARGE.subarray(0, 99), LARGE.subarray(99))
    const blobs = verifyingBlobService(await openFileBlobService(dir.path), 'the store')
    const pieces: Uint8Array[] = []
    for (const chunk of (await blobs.chunks(digest))!)
      pieces.push((await readBlob(blobs, chunk.digest, chunk.size))!)
    expect(Buffer.compare(Buffer.concat(pieces), LARGE)).toBe(0)
  })

  test('has no chunks of a blob that somebody deleted, unless another blob brings them again', async () => {
    await using dir = await tempDir()
    const blobs = await openFileBlobService(dir.path)
    const digest = await put(blobs, LARGE)
    const [, second] = (await blobs.chunks(digest))!
    rmSync(fileOf(dir.path, digest))
    expect(await blobs.has(second!.digest)).toBe(false)
    expect(await blobs.openRead(second!.digest)).toBeUndefined()
    await put(blobs, LARGE, SMALL)
    expect(await readBlob(blobs, second!.digest)).toHaveLength(second!.size)
  })

  test('is written by many at once', async () => {
    await using dir = await tempDir()
    const stores = [await openFileBlobService(dir.path), await openFileBlobService(dir.path)]
    const digests = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        put(stores[n % 2]!, LARGE.subarray(0, 1_500_000), LARGE.subarray(1_500_000)),
      ),
    )
    expect(new Set(digests.map(({ hex }) => hex)).size).toBe(1)
    expect(Buffer.compare((await readBlob(stores[0]!, digests[0]!))!, LARGE)).toBe(0)
    expect(readdirSync(join(dir.path, '.tmp'))).toEqual([])
  })

  test('leaves nothing of a blob that is given up', async () => {
    await using dir = await tempDir()
    const blobs = await openFileBlobService(dir.path)
    const writer = blobs.openWrite()
    await writer.write(LARGE)
    await writer.abort()
    expect(readdirSync(join(dir.path, '.tmp'))).toEqual([])
    expect(existsSync(join(dir.path, 'blobs'))).toBe(false)
  })

  test('lets no wrong byte out, whole or in chunks', async () => {
    await using dir = await tempDir()
    const raw = await openFileBlobService(dir.path)
    const blobs = verifyingBlobService(raw, 'the store')
    const digest = await put(raw, LARGE)
    const [first, second] = (await raw.chunks(digest))!
    await flipBit(fileOf(dir.path, digest), first!.size + 5)
    await expect(readBlob(blobs, digest)).rejects.toMatchObject({ code: 'corrupt' })
    await expect(readBlob(blobs, second!.digest)).rejects.toMatchObject({ code: 'corrupt' })
    expect(await readBlob(blobs, first!.digest)).toHaveLength(first!.size)
    await truncate(fileOf(dir.path, digest), first!.size + 10)
    await expect(readBlob(blobs, second!.digest)).rejects.toMatchObject({ code: 'corrupt' })
    await expect(blobs.chunks(digest)).rejects.toMatchObject({ code: 'corrupt' })
  })

  test('takes a damaged list or place for what it is', async () => {
    await using dir = await tempDir()
    const blobs = await openFileBlobService(dir.path)
    const digest = await put(blobs, LARGE)
    const [first] = (await blobs.chunks(digest))!
    appendFileSync(`${fileOf(dir.path, digest)}.map`, 'x')
    await expect(blobs.chunks(digest)).rejects.toMatchObject({ code: 'corrupt' })
    writeFileSync(join(dir.path, 'chunks', first!.digest.hex.slice(0, 2), first!.digest.hex), 'nonsense')
    await expect(blobs.openRead(first!.digest)).rejects.toMatchObject({ code: 'corrupt' })
  })

  describe('as local files', () => {
    test('hands out what is right, and again without reading it', async () => {
      await using dir = await tempDir()
      const blobs = await openFileBlobService(dir.path)
      const digest = await put(blobs, LARGE)
      for (let i = 0; i < 2; i++) expect(Buffer.compare((await localBytes(blobs, digest))!, LARGE)).toBe(0)
      expect(await localBytes(blobs, Digest.of(SMALL))).toBeUndefined()
    })

    test('hashes nothing again that was hashed while it was written', async () => {
      await using dir = await tempDir()
      const digest = await put(await openFileBlobService(dir.path), LARGE)
      const blobs = await openFileBlobService(dir.path)
      await using file = await blobs.openLocalFile(digest)
      expect(file!.wasRead).toBe(nativeFileNotes() === undefined)
    })

    test('refuses what changed since it was right', async () => {
      await using dir = await tempDir()
      const blobs = await openFileBlobService(dir.path)
      const digest = await put(blobs, LARGE)
      await localBytes(blobs, digest)
      await flipBit(fileOf(dir.path, digest), 1_000_000)
      await expect(localBytes(blobs, digest)).rejects.toMatchObject({ code: 'corrupt' })
    })
  })

  test('is no cache, and a cache is no store', async () => {
    await using store = await tempDir()
    await using cache = await tempDir()
    await openFileBlobService(store.path)
    await CacheFolder.open(cache.path)
    await expect(CacheFolder.open(store.path)).rejects.toMatchObject({
      code: 'precondition',
      message: expect.stringContaining('no cache'),
    })
    await expect(openFileBlobService(cache.path)).rejects.toMatchObject({ code: 'precondition' })
  })
})
