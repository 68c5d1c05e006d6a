/** `mount --closure-of`: a build sees what it declared, and nothing else that the store has. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, runOk, TVIX_STORE } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { makeNixClosure, type NixClosure } from '../support/nix-closure.ts'
import { HAS_NIX } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts() ?? (HAS_NIX ? undefined : 'no Nix')

describe.skipIf(reason)(reason ? `closures (skipped: ${reason})` : 'a mount of a closure', () => {
  let folder: string
  let namespace: MountNamespace
  let store: NixClosure
  let flags: string[]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-closure-'))
    store = await makeNixClosure(folder)
    flags = localStoreFlags(folder)
    await runOk(TVIX_STORE, ['copy', '--from', 'local', '--root', store.root, ...flags, store.app])
    namespace = await MountNamespace.create()
  }, 60_000)

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    if (HAS_NIX) await runOk('chmod', ['-R', 'u+w', folder])
    await rm(folder, { recursive: true, force: true })
  })

  async function list(name: string, ...roots: string[]): Promise<string[]> {
    const target = await namespace.directory(name)
    await using mount = await StoreMount.start(namespace, target, [
      ...['--list-root', '--closure-of', ...roots],
      ...flags,
    ])
    const { stdout } = await namespace.run('ls', target)
    for (const path of [store.app, store.tool, store.library]) {
      const { status } = await namespace.run('stat', join(target, basename(path)))
      expect(status === 0).toBe(stdout.includes(basename(path)))
    }
    expect(await mount.stop()).toBe(0)
    return stdout.trim().split('\n')
  }

  test('shows a path and what it refers to', async () => {
    expect(await list('tool', store.tool)).toEqual(
      [store.library, store.tool].map((path) => basename(path)).sort(),
    )
    expect(await list('library', basename(store.library))).toEqual([basename(store.library)])
  })

  test('of several paths shows each once', async () => {
    expect(await list('all', store.app, store.tool)).toHaveLength(3)
  })

  test('of a path that is not there is refused before anything is mounted', async () => {
    const absent = `/nix/store/${'0'.repeat(32)}-absent`
    const target = await namespace.directory('absent')
    const { status, stderr } = await StoreMount.refused(namespace, target, ['--closure-of', absent, ...flags])
    expect(status).toBe(66)
    expect(stderr).toContain(`${absent} is not in `)
  })
})
