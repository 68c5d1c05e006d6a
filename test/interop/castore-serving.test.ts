/** Directories by their digests, for those who come without store paths: `castore mount`, `virtiofs`, `daemon`, `http` (spec §4.5). */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, remoteStoreFlags, run, runOk, TVIX_STORE, until } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'
import { tempDir } from '../support/temp-dir.ts'

let folder: Awaited<ReturnType<typeof tempDir>>
let tree: string
let flags: string[]
let digest: string

beforeAll(async () => {
  folder = await tempDir()
  tree = join(folder.path, 'tree')
  makeSourceTree(tree)
  flags = localStoreFlags(folder.path)
  digest = (await runOk(TVIX_STORE, ['castore', 'ingest', ...flags, tree])).trim()
})

afterAll(() => folder[Symbol.asyncDispose]())

const ABSENT = `blake3-${Buffer.alloc(32, 7).toString('base64')}`
const WRONG: [title: string, digest: string, code: number, message: RegExp][] = [
  ['one that is not there', ABSENT, 66, /Root directory not found: blake3-BwcH.* is not in lmdb:/],
  ['one that is too short', 'blake3-BwcH', 64, /blake3-BwcH is no digest: it is blake3-<base64>/],
  ['a store path', '/nix/store/abc', 64, /is no digest/],
]

const reason = whyNoMounts()

describe.skipIf(reason)(`castore mount${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  beforeAll(async () => {
    namespace = await MountNamespace.create()
  })
  afterAll(() => namespace[Symbol.asyncDispose]())

  const mount = (target: string, ...more: string[]) =>
    StoreMount.start(namespace, target, [...flags, ...more], ['castore', 'mount'])

  test('shows a directory, listed, file by file as it was', async () => {
    const target = await namespace.directory('whole')
    await using mounted = await mount(target, digest)
    const { stdout, stderr, status } = await namespace.run('diff', '-r', '--no-dereference', tree, target)
    expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 })
    expect((await namespace.run('cat', join(target, 'nothing'))).stderr).toMatch(/No such file/)
    expect(await mounted.stop()).toBe(0)
  })

  test('takes a digest in every form, and the flags that scripts have', async () => {
    const base64 = digest.slice('blake3-'.length)
    const hex = Buffer.from(base64, 'base64').toString('hex')
    const more = ['--uid-gid', '7:8', '--show-xattr', '--allow-other', '--list-root', '--threads', '4']
    for (const [i, form] of [`b3:${base64}`, base64.replace('=', ''), hex].entries()) {
      const target = await namespace.directory(`form-${i}`)
      await using mounted = await mount(target, ...more, form)
      expect((await namespace.run('stat', '-c', '%u:%g', join(target, 'file'))).stdout).toBe('7:8\n')
      expect(await mounted.stop()).toBe(0)
    }
  })

  test.each(WRONG)('refuses %s before anything is mounted', async (title, wrong, code, message) => {
    const target = await namespace.directory(title.replaceAll(' ', '-'))
    const { status, stderr } = await namespace.run(TVIX_STORE, 'castore', 'mount', ...flags, wrong, target)
    expect({ status, stderr }).toEqual({ status: code, stderr: expect.stringMatching(message) })
  })
})

describe('castore virtiofs', () => {
  test('serves a directory, and removes its socket at the end', async () => {
    const socket = join(folder.path, 'guest.socket')
    const args = ['castore', 'virtiofs', '--ready-fd', '3', ...flags, digest, socket]
    const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] })
    await once(child.stdio[3]!, 'data')
    expect(existsSync(socket)).toBe(true)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(existsSync(socket)).toBe(false)
  })

  test.each(WRONG)('refuses %s', async (_, wrong, code, message) => {
    const socket = join(folder.path, 'refused.socket')
    const refused = await run(TVIX_STORE, ['castore', 'virtiofs', ...flags, wrong, socket])
    expect(refused).toMatchObject({ code, stderr: expect.stringMatching(message) })
    expect(existsSync(socket)).toBe(false)
  })
})

describe('castore http', () => {
  const http = (...more: string[]) => ['castore', 'http', '-l', '127.0.0.1:0', ...flags, ...more]

  test('is a web site of a directory', async () => {
    const args = http('-r', digest, '--index-names', 'no,file', '-a', '--ready-fd', '3')
    const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] })
    let log = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
    await once(child.stdio[3]!, 'data')
    await until(() => log.includes('starting castore http'))
    const url = `http://${/127\.0\.0\.1:\d+/.exec(log)![0]}`
    expect(await (await fetch(url)).text()).toBe('contents\n')
    const large = await (await fetch(`${url}/large`)).arrayBuffer()
    expect(Buffer.from(large).equals(readFileSync(join(tree, 'large')))).toBe(true)
    expect(await (await fetch(`${url}/deep`)).text()).toContain('href="./deep/er/"')
    expect((await fetch(`${url}/link/and/deeper/file`)).url).toBe(`${url}/deep/er/and/deeper/file`)
    expect(log).not.toContain('may write')
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  test.each(WRONG)('refuses %s', async (_, wrong, code, message) => {
    expect(await run(TVIX_STORE, http('-r', wrong))).toMatchObject({
      code,
      stderr: expect.stringMatching(message),
    })
  })

  test('refuses names of index files that no file has, and to begin without a directory', async () => {
    for (const [message, ...args] of [
      ['it is names of files', '-r', digest, '--index-names', 'a,b/c'],
      ["required option '-r, --root-directory <digest>' not specified"],
    ])
      expect(await run(TVIX_STORE, http(...args))).toMatchObject({
        code: 64,
        stderr: expect.stringContaining(message!),
      })
  })
})

test('castore daemon serves blobs and directories, and has no path infos', async () => {
  const store = join(folder.path, 'served')
  const socket = join(store, 'daemon.socket')
  const serving = spawn(TVIX_STORE, ['castore', 'daemon', '-l', socket, ...localStoreFlags(store)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  serving.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  try {
    await until(() => log.includes('starting daemon') || serving.exitCode !== null)
    const remote = remoteStoreFlags(`grpc+unix://${socket}`)
    expect(await runOk(TVIX_STORE, ['castore', 'ingest', ...remote, tree])).toBe(`${digest}\n`)
    const asked = await run(TVIX_STORE, ['path-info', '--all', ...remote])
    expect(asked).toMatchObject({
      code: 69,
      stderr: expect.stringContaining('serves neither tvix.store.v1.Path'),
    })
    expect(existsSync(join(store, 'pathinfo.lmdb'))).toBe(false)
  } finally {
    serving.kill('SIGTERM')
    await once(serving, 'exit')
  }
})
