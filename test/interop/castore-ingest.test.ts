/** `tvix-store castore ingest`: contents by their digest, for scripts (spec §4.5). */
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, remoteStoreFlags, run, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { tempDir } from '../support/temp-dir.ts'

let folder: Awaited<ReturnType<typeof tempDir>>
let tree: string
/** What `import` says of the same tree. */
let root: { readonly type: string; readonly digest: string; readonly size: number }

beforeAll(async () => {
  folder = await tempDir()
  tree = join(folder.path, 'tree')
  makeSourceTree(tree)
  const store = join(folder.path, 'store-of-import')
  root = JSON.parse(await runOk(TVIX_STORE, ['import', '--json', ...localStoreFlags(store), tree])).root
})

afterAll(() => folder[Symbol.asyncDispose]())

function ingest(store: string, ...args: string[]) {
  return run(TVIX_STORE, ['castore', 'ingest', ...localStoreFlags(join(folder.path, store)), ...args])
}

describe('castore ingest of a directory', () => {
  test('prints the digest and nothing else', async () => {
    expect(await ingest('store', tree)).toMatchObject({ code: 0, stdout: `${root.digest}\n` })
  })

  test('prints it as JSON', async () => {
    const { stdout } = await ingest('store', '--json', tree)
    expect(JSON.parse(stdout)).toEqual(root)
  })

  test('follows a symlink to a directory, since the root has no name', async () => {
    await symlink('tree', join(folder.path, 'link'))
    expect(await ingest('store', join(folder.path, 'link'))).toMatchObject({
      code: 0,
      stdout: `${root.digest}\n`,
    })
  })

  test('stores everything below it and no path', async () => {
    const state = join(folder.path, 'daemon')
    await mkdir(state)
    await using daemon = await startDaemon(state)
    const flags = remoteStoreFlags(daemon.address)
    const printed = await runOk(TVIX_STORE, ['castore', 'ingest', ...flags, tree])
    expect(printed).toBe(`${root.digest}\n`)
    expect(await runOk(TVIX_STORE, ['path-info', '--all', ...flags])).toBe('')
  })

  test('says what is wrong with what is not there, and creates no store for it', async () => {
    const failed = await ingest('no-store', join(folder.path, 'nothing'))
    expect(failed).toMatchObject({ code: 66, stdout: '' })
    expect(failed.stderr).toMatch(/unable to read .*nothing: ENOENT/)
  })

  test('refuses a fifo in it, by name', async () => {
    const odd = join(folder.path, 'odd')
    await mkdir(odd)
    await writeFile(join(odd, 'file'), 'file')
    await runOk('mkfifo', [join(odd, 'pipe')])
    const failed = await ingest('store', odd)
    expect(failed).toMatchObject({ code: 64, stdout: '' })
    expect(failed.stderr).toMatch(/unsupported file type at .*odd\/pipe: fifo/)
  })
})
