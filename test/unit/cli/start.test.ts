/** Where compiled code stays: in a cache of the user's own or nowhere, of a few builds, and nothing that is not ours goes. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { buildFolder, compiledFolder } from '../../../src/cli/compiled-folder.ts'
import { run, TVIX_STORE } from '../../support/cli.ts'
import { tempDir } from '../../support/temp-dir.ts'

const VERSION = 'v24.1.0'

let dir: Awaited<ReturnType<typeof tempDir>>
let folder: string

beforeEach(async () => {
  dir = await tempDir()
  folder = join(dir.path, 'compiled')
})

afterEach(() => dir[Symbol.asyncDispose]())

const nameOf = (build: number) => build.toString(16).padStart(16, '0')

/** As it was used: in the order of the numbers. */
function useBuild(build: number, version = VERSION): string | undefined {
  const own = buildFolder(folder, nameOf(build), version)
  if (own === undefined) return undefined
  mkdirSync(join(own, 'v24.1.0-x64-0123abcd-0'), { recursive: true })
  writeFileSync(join(own, 'v24.1.0-x64-0123abcd-0', '0123abcd'), 'by Node')
  writeFileSync(join(own, 'mount-main.js'), 'code')
  utimesSync(own, build, build)
  return own
}

describe('the folder of a build', () => {
  test('is made once, and those of the last ones stay beside it', () => {
    for (let build = 1; build <= 8; build++)
      expect(useBuild(build)).toBe(join(folder, `${nameOf(build)}-${VERSION}`))
    expect(readdirSync(folder).sort()).toEqual([6, 7, 8].map((build) => `${nameOf(build)}-${VERSION}`))
    // Two that are used in turns find what they left.
    for (const build of [7, 8, 7, 8]) expect(existsSync(join(useBuild(build)!, 'mount-main.js'))).toBe(true)
  })

  test('is another one for each version of Node', () => {
    for (const version of ['v24.1.0', 'v24.2.0', 'v25.0.0', 'v26.10.1']) useBuild(1, version)
    expect(readdirSync(folder)).toHaveLength(3)
    expect(readdirSync(folder)).toContain(`${nameOf(1)}-v26.10.1`)
  })

  test('takes nothing away that is not of a build', () => {
    useBuild(1)
    const others = [
      'v24.1.0-x64-0123abcd-0',
      'notes',
      `${nameOf(2)}-${VERSION}.saved`,
      `x${nameOf(2)}-${VERSION}`,
    ]
    for (const name of others) mkdirSync(join(folder, name))
    writeFileSync(join(folder, `${nameOf(3)}-${VERSION}`), 'a file')
    mkdirSync(join(dir.path, 'elsewhere'))
    symlinkSync(join(dir.path, 'elsewhere'), join(folder, `${nameOf(4)}-${VERSION}`))
    writeFileSync(join(dir.path, 'elsewhere', 'file'), '')
    for (let build = 10; build < 16; build++) useBuild(build)
    expect(readdirSync(folder)).toEqual(
      expect.arrayContaining([...others, `${nameOf(3)}-${VERSION}`, `${nameOf(4)}-${VERSION}`]),
    )
    expect(readdirSync(folder)).toHaveLength(others.length + 2 + 3)
    expect(existsSync(join(dir.path, 'elsewhere', 'file'))).toBe(true)
  })

  test('is one of a few also after many processes began at once', async () => {
    const module = join(import.meta.dirname, '../../../src/cli/compiled-folder.ts')
    const script = join(dir.path, 'begin.mjs')
    writeFileSync(
      script,
      `import { buildFolder } from ${JSON.stringify(module)}
      process.once('message', () => {
        for (let i = 0; i < 50; i++) {
          const build = (1000 * Number(process.argv[2]) + i).toString(16).padStart(16, '0')
          // Another may remove what was made a moment ago; then there is none, and no error.
          buildFolder(${JSON.stringify(folder)}, build, 'v24.1.0')
        }
        process.exit(0)
      })
      process.send('ready')`,
    )
    const children = [1, 2, 3].map((number) => fork(script, [String(number)]))
    await Promise.all(children.map((child) => once(child, 'message')))
    const codes = children.map(async (child) => {
      child.send('go')
      return (await once(child, 'exit'))[0]
    })
    expect(await Promise.all(codes)).toEqual([0, 0, 0])
    useBuild(1)
    expect(readdirSync(folder).length).toBeLessThanOrEqual(3)
  })

  test('is not there where it cannot be', () => {
    writeFileSync(folder, 'a file')
    expect(useBuild(1)).toBeUndefined()
    folder = '/proc/self/compiled'
    expect(useBuild(1)).toBeUndefined()
  })
})

test('a cache or home that is no absolute path is none: code from the working directory must never run', () => {
  expect(compiledFolder({ XDG_CACHE_HOME: '/c', HOME: '/h' })).toBe('/c/tvix-store/compiled')
  expect(compiledFolder({ XDG_CACHE_HOME: 'c', HOME: '/h' })).toBe('/h/.cache/tvix-store/compiled')
  for (const env of [
    {},
    { HOME: '' },
    { HOME: '.' },
    { XDG_CACHE_HOME: '' },
    { XDG_CACHE_HOME: '.', HOME: 'h' },
  ])
    expect(compiledFolder(env)).toBeUndefined()
})

test('an older Node is told from what is wrong with the program', async () => {
  const older = 'Object.defineProperty(process,"version",{value:"v22.3.0"})'
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(older)}` }
  expect(await run(TVIX_STORE, ['--version'], env)).toEqual({
    code: 69,
    stdout: '',
    stderr: 'tvix-store: needs Node.js 24 or newer, and this is v22.3.0\n',
  })
})

test.each([
  ['no home', { HOME: '', XDG_CACHE_HOME: '' }],
  ['a home that is not there', { HOME: '/proc/self/nobody', XDG_CACHE_HOME: '' }],
])('the program starts with %s', async (_title, env) => {
  expect(await run(TVIX_STORE, ['--version'], env)).toMatchObject({ code: 0, stdout: '0.1.0\n', stderr: '' })
})
