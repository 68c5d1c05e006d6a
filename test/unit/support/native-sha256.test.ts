import { createHash } from 'node:crypto'
import { lstatSync } from 'node:fs'
import { appendFile, link, rename, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/support/bytes.ts'
import { ChangedFile, createSha256, type SourceFile } from '../../../src/support/native-sha256.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { tempDir } from '../../support/temp-dir.ts'

function sourceOf(path: string): SourceFile {
  return { path: utf8(path), state: lstatSync(path, { bigint: true }) }
}

describe.each([
  ['with the addon', true],
  ['without it', false],
])('SHA-256 of bytes and files, %s,', (_, isNative) => {
  it('is that of all of them in their order', async () => {
    await using dir = await tempDir()
    const hash = createSha256(isNative)
    const expected = createHash('sha256')
    for (let round = 0; round < 5; round++) {
      const parts: (Uint8Array | SourceFile)[] = []
      for (let i = 0; i < 40; i++) {
        const bytes = pseudoRandom((i * 7919 * round) % 700_000, i + round)
        expected.update(bytes)
        if (i % 3 === 0) parts.push(bytes)
        else {
          const path = join(dir.path, `${round}-${i}-ä\n`)
          await writeFile(path, bytes)
          parts.push(sourceOf(path))
        }
      }
      await hash.update(parts)
    }
    await hash.update([])
    expect(Buffer.from(hash.digest()).toString('hex')).toBe(expected.digest('hex'))
  })

  it('hashes two calls at once in their order, whichever is read first', async () => {
    await using dir = await tempDir()
    const hash = createSha256(isNative)
    const expected = createHash('sha256')
    let before: Promise<void> | undefined
    // Larger and smaller than what is read ahead, with files that end there and files of which a part is.
    for (const [round, sizes] of [[5_000_000], [10], [4_194_304, 1], [4_194_303, 2], [0, 9_000_000, 7]].entries()) {
      const parts: (Uint8Array | SourceFile)[] = []
      for (const [i, size] of sizes.entries()) {
        const path = join(dir.path, `${round}-${i}`)
        const bytes = pseudoRandom(size, round * 10 + i)
        await writeFile(path, bytes)
        parts.push(utf8(path), sourceOf(path))
        expected.update(path).update(bytes)
      }
      const running = hash.update(parts)
      await before
      before = running
    }
    await before
    expect(Buffer.from(hash.digest()).toString('hex')).toBe(expected.digest('hex'))
  })

  it('tells of a file that changed where the one before is still hashed', async () => {
    await using dir = await tempDir()
    const [large, path] = [join(dir.path, 'large'), join(dir.path, 'file')]
    await writeFile(large, pseudoRandom(20_000_000, 1))
    await writeFile(path, 'contents')
    const source = sourceOf(path)
    await appendFile(path, 'more')
    const hash = createSha256(isNative)
    const outcomes = await Promise.allSettled([hash.update([sourceOf(large)]), hash.update([source])])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected'])
    expect(outcomes[1]).toMatchObject({ reason: { path: utf8(path) } })
  })

  it.each<[string, (path: string) => Promise<unknown>]>([
    ['grew', (path) => appendFile(path, 'more')],
    ['was written again', (path) => writeFile(path, 'CONTENTS')],
    [
      'was replaced by its equal',
      async (path) => {
        await writeFile(`${path}-new`, 'contents')
        await rename(`${path}-new`, path)
      },
    ],
  ])('finds out a file that %s', async (_title, change) => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'contents')
    // Times are counted in ticks: a change shows for certain if the last one was long ago.
    await utimes(path, 1_000, 1_000)
    const source = sourceOf(path)
    await change(path)
    await expect(createSha256(isNative).update([source])).rejects.toThrow(ChangedFile)
  })

  it('says which file is gone, or is no file any more', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'contents')
    const source = sourceOf(path)
    await rm(path)
    await expect(createSha256(isNative).update([source])).rejects.toMatchObject({ code: 'ENOENT' })
    await symlink('/etc/passwd', path)
    await expect(createSha256(isNative).update([source])).rejects.toMatchObject({ code: 'ELOOP' })
  })

  it('takes a file that somebody links to for the same', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'file')
    await writeFile(path, 'contents')
    const source = sourceOf(path)
    await link(path, join(dir.path, 'other'))
    const hash = createSha256(isNative)
    await hash.update([source])
    expect(Buffer.from(hash.digest())).toEqual(createHash('sha256').update('contents').digest())
  })
})
