/** `scripts/tvix-store` of a checkout, which all other tests of commands leave aside for what was built of it. */
import { mkdir, readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { nodeFlags, runOk } from '../../support/cli.ts'
import { tempDir } from '../../support/temp-dir.ts'

const ROOT = join(import.meta.dirname, '../../..')
const LAUNCHER = join(ROOT, 'scripts/tvix-store')

test('runs the sources, from wherever it is called and through a link', async () => {
  await using dir = await tempDir()
  const link = join(dir.path, 'with a space')
  await symlink(LAUNCHER, link)
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
  expect(await runOk('sh', ['-c', 'cd / && "$0" --version', link])).toBe(`${version}\n`)
})

test('takes the flags of Node out of the first line of the program, and passes on arguments as they are', async () => {
  await using dir = await tempDir()
  const [bin, program] = [join(dir.path, 'node_modules/.bin'), join(dir.path, 'src/cli')]
  for (const folder of [bin, program, join(dir.path, 'scripts')]) await mkdir(folder, { recursive: true })
  await runOk('cp', [LAUNCHER, join(dir.path, 'scripts/tvix-store')])
  await runOk('cp', [join(ROOT, 'src/cli/main.ts'), program])
  await symlink('/bin/echo', join(bin, 'node'))
  expect(await runOk(join(dir.path, 'scripts/tvix-store'), ['a  b', '*'])).toBe(
    `${[...nodeFlags(), join(program, 'main.ts'), 'a  b', '*'].join(' ')}\n`,
  )
})
