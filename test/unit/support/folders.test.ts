import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createFolders } from '../../../src/support/folders.ts'
import { tempDir } from '../../support/temp-dir.ts'

test('creates what is missing and tells it, topmost first', async () => {
  await using dir = await tempDir()
  const a = join(dir.path, 'a')
  const c = join(a, 'b', 'c')
  expect(await createFolders(c)).toEqual([a, join(a, 'b'), c])
  expect(existsSync(c)).toBe(true)
  expect(await createFolders(c)).toEqual([])
})

test('may be called by several at once', async () => {
  await using dir = await tempDir()
  const path = join(dir.path, 'a', 'b')
  await Promise.all([createFolders(path), createFolders(path), createFolders(path)])
  expect(existsSync(path)).toBe(true)
})

test('fails at once where nothing can be created', async () => {
  await expect(createFolders('/proc/no-such-folder/below')).rejects.toMatchObject({ code: 'ENOENT' })
})
