/**
 * `tvix-store copy` with the real Nix as the source: the closure arrives with references, deriver, signatures and
 * content addresses, and what arrived renders to the NARs that `nix-store --dump` writes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PathInfo } from '../../src/model/nix/path-info.ts'
import { printSignature } from '../../src/model/nix/signature.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { localStoreFlags, run, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { makeNixClosure, type NixClosure, nix } from '../support/nix-closure.ts'
import { HAS_NIX } from '../support/requirements.ts'

let folder: string
let source: NixClosure
let graph: string
let signature: string

beforeAll(async () => {
  if (!HAS_NIX) return
  folder = await mkdtemp(join(tmpdir(), 'tvix-store-copy-'))
  source = await makeNixClosure(folder)
  await nix('key', 'generate-secret', '--key-name', 'test-1').then((key) =>
    writeFile(join(folder, 'key'), key),
  )
  await nix('store', 'sign', ...source.flags, '-k', join(folder, 'key'), '-r', source.app)
  const printed = await nix('path-info', ...source.flags, '--json', '-r', source.app)
  signature = JSON.parse(printed).find(({ path }: { path: string }) => path === source.app).signatures[0]
  graph = join(folder, 'graph.json')
  await writeFile(graph, printed)
}, 60_000)

afterAll(async () => {
  if (!HAS_NIX) return
  await runOk('chmod', ['-R', 'u+w', folder])
  await rm(folder, { recursive: true, force: true })
})

async function pathInfosOf(state: string): Promise<Map<string, PathInfo>> {
  const [blobs, directories, pathInfos] = localStoreFlags(state).map((flag) =>
    flag.slice(flag.indexOf('=') + 1),
  )
  await using stores = await openStores({ blobs: blobs!, directories: directories!, pathInfos: pathInfos! })
  const found = new Map<string, PathInfo>()
  for await (const pathInfo of stores.pathInfos.list()) found.set(pathInfo.storePath.absolutePath, pathInfo)
  return found
}

async function expectWholeClosure(state: string): Promise<void> {
  const found = await pathInfosOf(state)
  expect([...found.keys()].sort()).toEqual([source.app, source.library, source.tool].sort())
  const app = found.get(source.app)!
  expect(app.references.map((path) => path.absolutePath)).toEqual(
    [source.app, source.library, source.tool].sort(),
  )
  expect(`${app.deriver!.absolutePath}.drv`).toBe(source.deriver)
  expect(app.signatures.map(printSignature)).toEqual([signature])
}

function state(name: string): string {
  return join(folder, name)
}

const fromSource = () => ['--root', source.root]

describe.skipIf(!HAS_NIX)('copy', { timeout: 120_000 }, () => {
  test('from the local Nix, with its closure; a second run has nothing to do', async () => {
    const flags = localStoreFlags(state('local'))
    const args = ['copy', '--json', '--from', 'local', ...fromSource(), ...flags, source.app]
    const first = JSON.parse(await runOk(TVIX_STORE, args))
    expect(first).toMatchObject({ paths: { copied: 3, present: 0 } })
    expect(first.movedBytes).toBeGreaterThan(5_000_000)
    await expectWholeClosure(state('local'))
    const second = JSON.parse(await runOk(TVIX_STORE, args))
    expect(second).toMatchObject({ paths: { copied: 0, present: 3 }, movedBytes: 0 })
  })

  test('everything that the local Nix has', async () => {
    await runOk(TVIX_STORE, [
      'copy',
      '--from',
      'local',
      '--all',
      ...fromSource(),
      ...localStoreFlags(state('all')),
    ])
    await expectWholeClosure(state('all'))
  })

  test('from a reference graph: file, environment, standard input, socket, JSON lines, closure', async () => {
    const text = await readFile(graph, 'utf8')
    const wrapped = join(folder, 'attrs.json')
    await writeFile(wrapped, JSON.stringify({ outputs: { out: '/x' }, closure: JSON.parse(text) }))
    const lines = JSON.parse(text)
      .map((path: object) => JSON.stringify(path))
      .join('\n')
    const copyTo = (name: string) => ['copy', ...fromSource(), ...localStoreFlags(state(name))]

    await runOk(TVIX_STORE, [...copyTo('graph-file'), graph])
    await expectWholeClosure(state('graph-file'))
    expect((await run(TVIX_STORE, copyTo('graph-env'), { NIX_ATTRS_JSON_FILE: wrapped })).code).toBe(0)
    await expectWholeClosure(state('graph-env'))
    await runWithInput([...copyTo('graph-lines'), '--jsonl', '-'], lines)
    await expectWholeClosure(state('graph-lines'))

    const socket = join(folder, 'graph.socket')
    const server = createServer((connection) => connection.end(text)).listen(socket)
    await once(server, 'listening')
    await runOk(TVIX_STORE, [...copyTo('graph-socket'), socket])
    server.close()
    await expectWholeClosure(state('graph-socket'))
  })

  test('between daemons, by closure, and to files', async () => {
    await mkdir(state('one'))
    await mkdir(state('two'))
    await using one = await startDaemon(state('one'))
    await using two = await startDaemon(state('two'))
    await runOk(TVIX_STORE, ['copy', '--to', one.address, ...fromSource(), graph])
    const copied = await runOk(TVIX_STORE, [
      'copy',
      '--json',
      '--from',
      one.address,
      '--to',
      two.address,
      source.app,
    ])
    expect(JSON.parse(copied)).toMatchObject({ paths: { copied: 3, present: 0 } })
    await runOk(TVIX_STORE, ['copy', '--from', two.address, '--all', ...localStoreFlags(state('three'))])
    await expectWholeClosure(state('three'))
    await one.stop()
    await two.stop()
    await expectWholeClosure(state('two'))
  })

  test('a Nix store that was tampered with: refused, and neither it nor what refers to it is visible', async () => {
    const other = join(folder, 'tampered')
    await mkdir(other)
    const tampered = await makeNixClosure(other)
    const file = join(tampered.root, tampered.tool)
    await chmod(file, 0o644)
    await writeFile(file, 'evil')
    const { code, stderr } = await run(TVIX_STORE, [
      ...['copy', '--from', 'local', '--root', tampered.root, ...localStoreFlags(state('refused'))],
      tampered.app,
    ])
    expect(stderr).toMatch(
      /tvix-store: \/nix\/store\/[a-z0-9]+-tool: [a-z0-9]+-tool: Nar(Size|Hash) is .*, but the NAR has/,
    )
    expect(code).toBe(65)
    const visible = await pathInfosOf(state('refused'))
    expect(visible.has(tampered.tool) || visible.has(tampered.app)).toBe(false)
  })

  test('a graph that is not closed is refused, and names both paths', async () => {
    const open = join(folder, 'open.json')
    const paths = JSON.parse(await readFile(graph, 'utf8'))
    await writeFile(
      open,
      JSON.stringify(paths.filter(({ path }: { path: string }) => path !== source.library)),
    )
    const { code, stderr } = await run(TVIX_STORE, [
      'copy',
      ...fromSource(),
      ...localStoreFlags(state('open')),
      open,
    ])
    expect(code).toBe(64)
    expect(stderr).toContain(`refers to ${source.library}, which is neither in the reference graph nor in`)
    expect((await pathInfosOf(state('open'))).size).toBe(0)
  })
})

async function runWithInput(args: string[], input: string): Promise<void> {
  const child = spawn(TVIX_STORE, args, { stdio: ['pipe', 'ignore', 'ignore'] })
  child.stdin.end(input)
  expect((await once(child, 'exit'))[0]).toBe(0)
}
