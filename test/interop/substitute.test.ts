/**
 * Binary caches as `nix copy` writes them, served by web servers that know nothing of Nix: substituted on the first
 * lookup, mounted, and equal to their source; and what was tampered with stays out.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runOk } from '../support/cli.ts'
import { startHttpServer } from '../support/http-server.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { HAS_NIX } from '../support/requirements.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = HAS_NIX ? whyNoMounts() : 'no program nix-store'
const title = reason ? `binary caches of Nix (skipped: ${reason})` : 'binary caches of Nix'

const NIX = ['--extra-experimental-features', 'nix-command']
const COMPRESSIONS = ['none', 'xz', 'zstd', 'bzip2'] as const

describe.skipIf(reason)(title, { timeout: 120_000 }, () => {
  let folder: string
  let source: string
  let namespace: MountNamespace
  let publicKey: string
  /** A derivation, which refers to `tree`: two paths of one closure. */
  let derivation: string
  let tree: string
  let count = 0

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-substitute-'))
    source = join(folder, 'source')
    makeSourceTree(source)
    namespace = await MountNamespace.create()
    const [secretFile, publicFile] = [join(folder, 'secret-key'), join(folder, 'public-key')]
    await runOk('nix-store', ['--generate-binary-cache-key', 'test.example-1', secretFile, publicFile])
    publicKey = (await readFile(publicFile, 'utf8')).trim()
    const expression = `derivation { name = "reader"; system = "none"; builder = ${source}; }`
    derivation = (await runOk('nix-instantiate', [...nixStore(), '-E', expression])).trim()
    const closure = (await runOk('nix-store', [...nixStore(), '-qR', derivation])).trim().split('\n')
    expect(closure).toHaveLength(2)
    tree = closure.find((path) => path !== derivation)!
    for (const compression of COMPRESSIONS) await copyToCache(compression, `compression=${compression}`)
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    // Nix leaves its store read-only.
    await runOk('chmod', ['-R', 'u+w', folder])
    await rm(folder, { recursive: true, force: true })
  })

  const nixStore = () => ['--store', `local?root=${join(folder, 'nix')}`]
  const cacheFolder = (name: string) => join(folder, `cache-${name}`)

  async function copyToCache(name: string, settings: string): Promise<void> {
    const to = `file://${cacheFolder(name)}?${settings}&secret-key=${join(folder, 'secret-key')}`
    await runOk('nix', [...NIX, 'copy', ...nixStore(), '--to', to, '--derivation', derivation])
  }

  /** Mounts what is at `cache`, by way of a fresh store of our own. */
  async function mountCache(cache: string, key = publicKey, state = join(folder, `state-${++count}`)) {
    await mkdir(state, { recursive: true })
    const target = await namespace.directory(`mount-${++count}`)
    const mount = await StoreMount.start(namespace, target, [
      '--list-root',
      `--blob-service-addr=objectstore+file://${state}/blobs.object_store`,
      `--directory-service-addr=lmdb://${state}/directories.lmdb`,
      `--path-info-service-addr=lmdb://${state}/pathinfo.lmdb nix+${cache}?trusted-public-keys=${key}`,
    ])
    return { mount, state, at: (path: string) => join(mount.target, basename(path)) }
  }

  async function expectEqual(mounted: string): Promise<void> {
    const { status, stdout, stderr } = await namespace.run('diff', '-r', '--no-dereference', source, mounted)
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  }

  describe.each(COMPRESSIONS)('compressed with %s', (compression) => {
    test('are substituted on the first lookup, once, and are equal', async () => {
      await using server = await serveFolder(cacheFolder(compression))
      const { mount, state, at } = await mountCache(server.url.href)
      await using _ = mount
      await expectEqual(at(tree))
      const { stdout } = await namespace.run('cat', at(derivation))
      expect(stdout).toMatch(/^Derive\(/)
      await expectEqual(at(tree))
      expect(server.requests.filter((line) => line.includes('/nar/'))).toHaveLength(2)
      expect(mount.log).toMatch(/substituting .*-source.*"bytes":\d+/)
      expect(mount.log).toMatch(/substituted .*-source.*"bytes_per_second":\d+/)
      expect((await namespace.run('ls', mount.target)).stdout.split('\n').filter(Boolean).sort()).toEqual(
        [tree, derivation].map((path) => basename(path)).sort(),
      )
      await mount.stop()

      // The cache is gone; what came from it stays.
      await server[Symbol.asyncDispose]()
      const again = await mountCache(server.url.href, publicKey, state)
      await using __ = again.mount
      await expectEqual(again.at(tree))
    })
  })

  test('are read from a web server of another kind', async () => {
    await using server = await servePython(cacheFolder('xz'))
    const { mount, at } = await mountCache(server.url)
    await using _ = mount
    await expectEqual(at(tree))
    expect((await namespace.run('stat', at(tree).replace('source', 'another-name'))).status).not.toBe(0)
    expect((await namespace.run('stat', join(mount.target, `${'0'.repeat(32)}-absent`))).stderr).toContain(
      'No such file or directory',
    )
  })

  describe('that were tampered with', () => {
    const OTHER_KEY = 'test.example-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY='

    interface Tampering {
      readonly title: string
      readonly reason: RegExp
      readonly key?: string
      /** Changes what is in the cache. */
      readonly change?: (cache: string) => Promise<void>
    }

    const narInfoOf = (cache: string) => join(cache, `${basename(tree).slice(0, 32)}.narinfo`)
    const narOf = async (cache: string) =>
      join(cache, /^URL: (.*)$/m.exec(await readFile(narInfoOf(cache), 'utf8'))![1]!)

    async function edit(file: string, change: (bytes: Buffer) => Buffer): Promise<void> {
      await writeFile(file, change(await readFile(file)))
    }
    const editText = (file: string, pattern: RegExp, replacement: string) =>
      edit(file, (bytes) => {
        const text = bytes.toString()
        expect(text).toMatch(pattern)
        return Buffer.from(text.replace(pattern, replacement))
      })

    /** Another bit of a file, so that it is a NAR still. */
    const inContents = (nar: Buffer) => {
      nar[nar.indexOf('#!/bin/sh') + 2]! ^= 1
      return nar
    }

    const TAMPERINGS: Tampering[] = [
      {
        title: 'a wrong key',
        key: OTHER_KEY,
        reason: /no valid signature of a trusted key.*trusted are test.example-1/,
      },
      {
        title: 'a missing signature',
        change: (cache) => editText(narInfoOf(cache), /Sig: .*\n/, ''),
        reason: /no valid signature of a trusted key: it is not signed/,
      },
      {
        title: 'a tampered narinfo',
        change: (cache) =>
          editText(narInfoOf(cache), /References: .*/, `References: ${'0'.repeat(32)}-other`),
        reason: /no valid signature of a trusted key: it says to be signed by test.example-1/,
      },
      {
        title: 'a wrong size',
        change: (cache) => editText(narInfoOf(cache), /NarSize: /, 'NarSize: 1'),
        reason: /no valid signature of a trusted key/,
      },
      {
        title: 'a tampered NAR',
        change: async (cache) =>
          edit(await narOf(cache), (bytes) => {
            bytes[bytes.length >> 1]! ^= 1
            return bytes
          }),
        reason: /not its FileHash|cannot be decompressed/,
      },
      {
        title: 'a tampered NAR that its narinfo does not hash',
        change: async (cache) => {
          await edit(await narOf(cache), inContents)
          await editText(narInfoOf(cache), /FileHash: .*\n/, '')
        },
        reason: /NarHash is sha256:\w+, but the NAR has sha256:/,
      },
      {
        title: 'a truncated body',
        change: async (cache) => edit(await narOf(cache), (bytes) => bytes.subarray(0, bytes.length - 100)),
        reason: /and not its FileSize|ends/,
      },
    ]

    test.each(TAMPERINGS)('$title: refused with the reason, and never seen', async (tampering) => {
      const cache = cacheFolder(`tampered-${++count}`)
      await cp(cacheFolder('none'), cache, { recursive: true })
      // The address of its contents would prove it, whoever signed.
      await editText(narInfoOf(cache), /CA: .*\n/, '')
      await tampering.change?.(cache)
      await using server = await serveFolder(cache)
      const { mount, at } = await mountCache(server.url.href, tampering.key)
      await using _ = mount
      for (let i = 0; i < 2; i++) {
        const { status, stderr } = await namespace.run('ls', at(tree))
        expect({ status, stderr }).toEqual({
          status: 2,
          stderr: expect.stringContaining('Input/output error'),
        })
      }
      expect(mount.log).toMatch(tampering.reason)
      expect((await namespace.run('ls', mount.target)).stdout).toBe('')
    })

    test('a false address of contents does not replace the signature', async () => {
      const cache = cacheFolder(`tampered-${++count}`)
      await cp(cacheFolder('none'), cache, { recursive: true })
      await editText(narInfoOf(cache), /Sig: .*\n/, '')
      await edit(await narOf(cache), inContents)
      await editText(narInfoOf(cache), /FileHash: .*\n/, '')
      await using server = await serveFolder(cache)
      const { mount, at } = await mountCache(server.url.href)
      await using _ = mount
      expect((await namespace.run('ls', at(tree))).stderr).toContain('Input/output error')
      expect(mount.log).toMatch(/NarHash is/)
    })
  })
})

/** A web server that knows nothing but files. */
function serveFolder(folder: string) {
  return startHttpServer((response, { url }) => {
    const file = join(folder, decodeURIComponent(url!))
    if (!existsSync(file)) return response.writeHead(404).end()
    return createReadStream(file)
      .on('error', () => response.writeHead(404).end())
      .pipe(response)
  })
}

async function servePython(folder: string): Promise<{ url: string } & AsyncDisposable> {
  const args = ['-u', '-m', 'http.server', '0', '--bind', '127.0.0.1', '--directory', folder]
  const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const url = /\((http:\S+)\)/.exec(line)![1]!
  return {
    url,
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}
