import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  appendFile,
  chmod,
  link,
  mkdir,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { memoryBlobService } from '../../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../../src/services/directories/memory.ts'
import type { NarDigest } from '../../../src/services/pathinfos/interface.ts'
import { concatBytes, utf8 } from '../../../src/support/bytes.ts'
import type { SourceRecords } from '../../../src/support/source-records.ts'
import { walkSource } from '../../../src/support/source-walk.ts'
import { ingestTree } from '../../../src/transfer/ingest-tree.ts'
import { localNarCalculation } from '../../../src/transfer/nar-calculation.ts'
import { createNarHash, markGiven, type NarPart } from '../../../src/transfer/nar-hash.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { tempDir } from '../../support/temp-dir.ts'

const PIECE = 256 * 1024
const SIZES = [0, 1, 7, 8, 9, 4096, PIECE - 300, PIECE, PIECE + 1, 5 * PIECE + 3]

async function records(path: string): Promise<SourceRecords[]> {
  const found: SourceRecords[] = []
  const walk = walkSource(utf8(path))
  for (let some = await walk.next(); some; some = await walk.next()) found.push(some)
  return found
}

async function makeTree(path: string): Promise<void> {
  await mkdir(join(path, 'sub', 'empty'), { recursive: true })
  for (const [i, size] of SIZES.entries()) {
    const file = join(path, i % 2 ? 'sub' : '.', `file-${size}-ä\n`)
    await writeFile(file, pseudoRandom(size, i))
    if (i % 3 === 0) await chmod(file, 0o755)
  }
  for (let i = 0; i < 300; i++) await writeFile(join(path, `small-${i}`), `${i}`)
  await symlink('/some/where', join(path, 'sub', 'link'))
  await writeFile(Buffer.from(`${path}/\xff`, 'latin1'), 'no UTF-8')
}

/** By way of a store, with other code. */
async function expected(path: string) {
  const store = { blobs: memoryBlobService(), directories: memoryDirectoryService() }
  const node = await ingestTree(store, path, { sizeFormula: 'rust' })
  return await localNarCalculation(store).calculateNar(node)
}

/** Whether a digest is a Buffer does not matter. */
function plain({ narSize, narSha256 }: NarDigest) {
  return { narSize, narSha256: Buffer.from(narSha256).toString('hex') }
}

describe.each([
  ['with the addon', true],
  ['without it', false],
])('the hash of the NAR of a tree, %s,', (_title, isNative) => {
  it.each([
    ['read by itself, in one go', 0, Number.POSITIVE_INFINITY],
    ['given, every second file', 2, Number.POSITIVE_INFINITY],
    ['given, all files', 1, 40],
    ['in many calls', 3, 1],
  ])('is that of what is stored: %s', async (_, givenEvery, partsAtOnce) => {
    await using dir = await tempDir()
    const path = join(dir.path, 'tree')
    await makeTree(path)
    const hash = createNarHash(utf8(path), isNative)
    let files = 0
    let parts: NarPart[] = []
    const add = async (part: NarPart) => {
      parts.push(part)
      if (parts.length < partsAtOnce) return
      await hash.update(parts)
      parts = []
    }
    const folders: Uint8Array[] = []
    for (const some of await records(path)) {
      let told = 0
      for (let i = 0; i < some.count; i++) {
        const kind = some.kind(i)
        const folder = folders.at(-1)
        const own = folder ? concatBytes([folder, utf8('/'), some.name(i)]) : utf8(path)
        if (kind === 'directory') folders.push(own)
        if (kind === 'end') folders.pop()
        if (kind !== 'file' || givenEvery === 0 || files++ % givenEvery > 0) continue
        markGiven(some, i)
        await add({ records: some, from: told, to: i + 1 })
        told = i + 1
        const contents = readFileSync(Buffer.from(own))
        for (let at = 0; at < contents.length; at += 100_000) await add(contents.subarray(at, at + 100_000))
      }
      if (told < some.count) await add({ records: some, from: told, to: some.count })
    }
    await hash.update(parts)
    expect(plain(hash.digest())).toEqual(plain(await expected(path)))
  })

  it('is that of a file, or a symlink', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'file'), 'contents')
    await symlink('file', join(dir.path, 'link'))
    for (const name of ['file', 'link']) {
      const path = join(dir.path, name)
      const hash = createNarHash(utf8(path), isNative)
      for (const some of await records(path)) await hash.update([{ records: some, from: 0, to: some.count }])
      expect(plain(hash.digest())).toEqual(plain(await expected(path)))
    }
  })

  it.each<[string, string, (path: string) => Promise<unknown>]>([
    ['grew', 'precondition', (path) => appendFile(path, 'more')],
    ['shrank', 'precondition', (path) => truncate(path, 3)],
    ['was written again', 'precondition', (path) => writeFile(path, 'CONTENTS')],
    [
      'was replaced by its equal',
      'precondition',
      async (path) => {
        await writeFile(`${path}-new`, 'contents')
        await rename(`${path}-new`, path)
      },
    ],
    ['is gone', 'not-found', (path) => rm(path)],
    [
      'is a symlink',
      'unavailable',
      async (path) => {
        await rm(path)
        await symlink('/etc/passwd', path)
      },
    ],
  ])('names a file that %s since it was found', async (_, code, change) => {
    await using dir = await tempDir()
    const path = join(dir.path, 'sub', 'file')
    await mkdir(join(dir.path, 'sub'))
    await writeFile(path, 'contents')
    // Times are counted in ticks: a change shows for certain if the last one was long ago.
    await utimes(path, 1_000, 1_000)
    const [some] = await records(dir.path)
    await change(path)
    const updating = createNarHash(utf8(dir.path), isNative).update([
      { records: some!, from: 0, to: some!.count },
    ])
    await expect(updating).rejects.toMatchObject({ code, message: expect.stringContaining(path) })
  })

  it('takes a file that somebody links to for the same', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'contents')
    const [some] = await records(path)
    await link(path, join(dir.path, 'other'))
    const hash = createNarHash(utf8(path), isNative)
    await hash.update([{ records: some!, from: 0, to: 1 }])
    expect(plain(hash.digest())).toEqual(plain(await expected(path)))
  })

  it('gives none of a tree that is not complete', async () => {
    await using dir = await tempDir()
    const [some] = await records(dir.path)
    const hash = createNarHash(utf8(dir.path), isNative)
    await hash.update([{ records: some!, from: 0, to: 1 }])
    expect(() => hash.digest()).toThrow('not complete')
  })
})

describe('what the addon is given', () => {
  it('has to be as it takes it', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'file'), 'contents')
    const [some] = await records(dir.path)
    const hash = () => createNarHash(utf8(dir.path))
    const wrong = (parts: NarPart[]) =>
      expect(Promise.resolve().then(() => hash().update(parts))).rejects.toThrow()
    await wrong([utf8('no file is open')])
    await wrong([{ records: some!, from: 0, to: some!.count + 1 }])
    await wrong([{ records: some!, from: 1, to: 2 }, utf8('the file was not given')])
    markGiven(some!, 1)
    await wrong([{ records: some!, from: 0, to: some!.count }])
    await wrong([{ records: some!, from: 0, to: 2 }, utf8('more than the contents')])
    const good = hash()
    await good.update([{ records: some!, from: 0, to: 2 }, utf8('con'), utf8('tents')])
    await good.update([{ records: some!, from: 2, to: 3 }])
    expect(Buffer.from(good.digest().narSha256).toString('hex')).not.toBe(createHash('sha256').digest('hex'))
  })
})
