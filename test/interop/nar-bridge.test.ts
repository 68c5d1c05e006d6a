/**
 * Stock Nix as the client (Debian's 2.8): it pushes closures with references and signatures, pulls them into other
 * stores with signatures required, asks for path infos and listings, and finds every path intact afterwards.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type RunResult, remoteStoreFlags, run, startDaemon } from '../support/cli.ts'
import { type NarBridge, startNarBridge } from '../support/nar-bridge.ts'
import {
  buildWithNix,
  CAN_BUILD_WITH_NIX,
  closureExpression,
  type NixClient,
  nixClient,
} from '../support/nix.ts'
import { tempDir } from '../support/temp-dir.ts'

function ok(result: RunResult): string {
  if (result.code !== 0) throw new Error(`ended with ${result.code}:\n${result.stderr}`)
  return result.stdout
}

/** Keys as Nix makes them. */
async function makeKey(folder: string, name: string): Promise<{ file: string; publicKey: string }> {
  const nix = (...args: string[]) => run('nix', ['--extra-experimental-features', 'nix-command', ...args])
  const file = join(folder, `${name}.secret`)
  await writeFile(file, ok(await nix('key', 'generate-secret', '--key-name', name)))
  const convert = `nix --extra-experimental-features nix-command key convert-secret-to-public < ${file}`
  return { file, publicKey: ok(await run('sh', ['-c', convert])).trim() }
}

const isMissing = CAN_BUILD_WITH_NIX ? '' : ' (needs Nix, root and unshare)'

describe.runIf(CAN_BUILD_WITH_NIX)(`Nix pushes and pulls${isMissing}`, { timeout: 60_000 }, () => {
  let dir: Awaited<ReturnType<typeof tempDir>>
  let source: NixClient
  let closure: string
  let paths: string[]
  let key: { file: string; publicKey: string }
  let clients = 0

  beforeAll(async () => {
    dir = await tempDir()
    source = nixClient(dir.path, 'source')
    closure = await buildWithNix(source, closureExpression())
    paths = ok(await source.nixStore('--query', '--requisites', closure))
      .trim()
      .split('\n')
    key = await makeKey(dir.path, 'builder-1')
    ok(await source.nix('store', 'sign', '--key-file', key.file, '--recursive', closure))
  }, 120_000)
  afterAll(() => dir[Symbol.asyncDispose]())

  const freshClient = () => nixClient(dir.path, `client-${++clients}`)

  async function bridge(name: string, ...flags: string[]): Promise<NarBridge> {
    // Nix remembers narinfos by address, and an earlier bridge may have had this one's port.
    await rm(join(`${source.root}-home`, '.cache'), { recursive: true, force: true })
    return startNarBridge(join(dir.path, name), { flags })
  }

  /** With the bridge as the only substituter. */
  function realise(client: NixClient, url: string, publicKey: string): Promise<RunResult> {
    const options = { substituters: url, 'trusted-public-keys': publicKey, 'require-sigs': 'true' }
    const flags = Object.entries(options).flatMap(([name, value]) => ['--option', name, value])
    return client.nixStore('--realise', closure, ...flags)
  }

  async function expectIntact(client: NixClient): Promise<void> {
    ok(await client.nixStore('--verify-path', ...paths))
    expect(
      ok(await client.nixStore('--query', '--requisites', closure))
        .trim()
        .split('\n')
        .sort(),
    ).toEqual([...paths].sort())
    ok(
      await run('diff', [
        '--recursive',
        '--no-dereference',
        `${source.root}/nix/store/`,
        `${client.root}/nix/store/`,
        '--exclude=*.drv',
        '--exclude=*.lock',
        '--exclude=.links',
      ]),
    )
  }

  test.each(['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br'])(
    'compression %s, again and again',
    async (compression) => {
      await using server = await bridge(`store-${compression}`)
      const target = `${server.url}?compression=${compression}&write-nar-listing=true`
      for (let round = 0; round < 2; round++) {
        ok(await source.nix('copy', '--to', target, closure))
        const copied = freshClient()
        ok(
          await copied.nix(
            'copy',
            '--from',
            server.url,
            closure,
            '--option',
            'trusted-public-keys',
            key.publicKey,
          ),
        )
        await expectIntact(copied)
        const realised = freshClient()
        ok(await realise(realised, server.url, key.publicKey))
        await expectIntact(realised)
      }
    },
  )

  test.each(['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br'])(
    'the uploader itself, which remembers the URLs of its files (%s)',
    async (compression) => {
      await using server = await bridge(`own-${compression}`)
      ok(await source.nix('copy', '--to', `${server.url}?compression=${compression}`, closure))
      // The narinfos in its cache are those it wrote, with the names of its files.
      const env = { HOME: `${source.root}-home`, XDG_CACHE_HOME: `${source.root}-home/.cache` }
      const root = join(dir.path, `again-${compression}`)
      const args = ['copy', '--from', server.url, '--to', root, '--no-check-sigs', closure]
      ok(await run('nix', ['--extra-experimental-features', 'nix-command', ...args], env))
      ok(await run('nix-store', ['--store', root, '--verify-path', ...paths], env))
    },
  )

  test('8 clients at once push, then 8 pull', async () => {
    await using server = await bridge('store-parallel')
    const compressions = ['none', 'xz', 'zstd', 'none', 'xz', 'zstd', 'none', 'xz']
    const pushes = compressions.map(async (compression) => {
      const pusher = freshClient()
      return pusher.nix(
        'copy',
        '--from',
        source.root,
        '--to',
        `${server.url}?compression=${compression}`,
        closure,
      )
    })
    for (const pushed of await Promise.all(pushes)) ok(pushed)
    const pullers = compressions.map(freshClient)
    for (const pulled of await Promise.all(
      pullers.map((client) => realise(client, server.url, key.publicKey)),
    ))
      ok(pulled)
    for (const client of pullers) await expectIntact(client)
  })

  test('path infos and listings, with references, signatures and deriver', async () => {
    await using server = await bridge('store-info')
    ok(await source.nix('copy', '--to', server.url, closure))
    const remote = ['--store', server.url]
    const asked = await run(
      'nix',
      [
        '--extra-experimental-features',
        'nix-command',
        'path-info',
        ...remote,
        '--recursive',
        '--json',
        closure,
      ],
      { HOME: join(dir.path, 'nobody') },
    )
    const local = JSON.parse(ok(await source.nix('path-info', '--recursive', '--json', closure)))
    const known = (info: Record<string, unknown>) => {
      const { path, narHash, narSize, references, deriver, signatures } = info
      return { path, narHash, narSize, references, deriver, signatures }
    }
    const own = (signature: string) => signature.startsWith('builder-1:')
    const expected = local.map((info: { signatures: string[] }) => ({
      ...known(info),
      signatures: info.signatures.filter(own),
    }))
    expect(JSON.parse(ok(asked)).map(known)).toEqual(expected)

    const program = paths.find((path) => path.endsWith('-program'))!
    const listed = await run(
      'nix',
      [
        '--extra-experimental-features',
        'nix-command',
        'store',
        'ls',
        ...remote,
        '--recursive',
        '--long',
        program,
      ],
      { HOME: join(dir.path, 'nobody') },
    )
    const expectedList = await source.nix('store', 'ls', '--recursive', '--long', program)
    expect(ok(listed)).toBe(ok(expectedList))
    const read = await run(
      'nix',
      ['--extra-experimental-features', 'nix-command', 'store', 'cat', ...remote, `${program}/bin/hi`],
      { HOME: join(dir.path, 'nobody') },
    )
    expect(ok(read)).toBe(await readFile(`${source.root}${program}/bin/hi`, 'utf8'))
  })

  test('what nobody signed is refused, until the bridge signs it', async () => {
    const unsigned = freshClient()
    const other = await buildWithNix(unsigned, closureExpression('unsigned', 1))
    const ours = await makeKey(dir.path, 'bridge-1')
    await using server = await bridge('store-signing', '--signing-key-file', ours.file)
    ok(await unsigned.nix('copy', '--to', `${server.url}?compression=zstd`, other))
    const pull = (publicKey: string) =>
      freshClient().nixStore(
        '--realise',
        other,
        ...['--option', 'substituters', server.url, '--option', 'trusted-public-keys', publicKey],
      )
    const refused = await pull(key.publicKey)
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toMatch(/signature|substitut/)
    ok(await pull(ours.publicKey))
  })

  test('uploads go on after the bridge was killed between NARs and narinfos', async () => {
    const cache = join(dir.path, 'file-cache')
    ok(await source.nix('copy', '--to', `file://${cache}?compression=xz`, closure))
    const folder = join(dir.path, 'store-killed')
    const put = async (url: string, pattern: string) => {
      const script = `cd "$1" && for f in ${pattern}; do curl --silent --show-error --fail -T "$f" "$2/$f" || exit 1; done`
      ok(await run('sh', ['-c', script, 'sh', cache, url]))
    }
    for (const [first, second] of [
      ['nar/*', '*.narinfo'],
      ['*.narinfo', 'nar/*'],
    ] as const) {
      const place = `${folder}-${first.length}`
      {
        await using before = await startNarBridge(place)
        await put(before.url, first)
        await before.stop('SIGKILL')
      }
      await using after = await startNarBridge(place)
      await put(after.url, second)
      const client = freshClient()
      ok(await realise(client, after.url, key.publicKey))
      await expectIntact(client)
    }
  })

  test('over a daemon, as the default addresses have it', async () => {
    await mkdir(join(dir.path, 'store-daemon'))
    await using daemon = await startDaemon(join(dir.path, 'store-daemon'))
    await using server = await startNarBridge(join(dir.path, 'store-remote'), {
      stores: remoteStoreFlags(daemon.address),
    })
    ok(await source.nix('copy', '--to', `${server.url}?compression=zstd`, closure))
    const client = freshClient()
    ok(await realise(client, server.url, key.publicKey))
    await expectIntact(client)
    expect(await server.stop()).toBe(0)
  })

  test('with tokens: who has none may read at most, and netrc lets Nix push', async () => {
    const tokens = join(dir.path, 'tokens')
    await writeFile(tokens, 'put:secret-token\n')
    const netrc = join(dir.path, 'netrc')
    await writeFile(netrc, 'machine 127.0.0.1 login nix password secret-token\n')
    await using server = await bridge('store-tokens', '--token-file', tokens, '--anonymous-read')
    const refused = await source.nix('copy', '--to', server.url, closure)
    expect(refused.code).not.toBe(0)
    ok(await source.nix('copy', '--to', server.url, closure, '--option', 'netrc-file', netrc))
    const client = freshClient()
    ok(await realise(client, server.url, key.publicKey))
    await expectIntact(client)
    expect(server.log()).not.toContain('secret-token')
  })
})
