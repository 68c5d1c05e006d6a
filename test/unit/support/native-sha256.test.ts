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
