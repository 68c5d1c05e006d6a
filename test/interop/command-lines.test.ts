/**
 * Every command line of the Rust implementation (spec §4.1-4.5), called as a script calls it: by its own name, from the PATH,
 * where `npm install -g` put it. Each is accepted and prints what it should.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { localStoreFlags, runOk, run as runProgram, until } from '../support/cli.ts'
import { installBuilt, packagePrograms, pathWith } from '../support/installed.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { HAS_NIX } from '../support/requirements.ts'
import { StoreMount } from '../support/store-mount.ts'
import { tempDir } from '../support/temp-dir.ts'

type Environment = Record<string, string>

let folder: Awaited<ReturnType<typeof tempDir>>
let bin: string
let store: Environment
let tree: string
/** Of the contents of the tree. */
let digest: string

beforeAll(async () => {
  folder = await tempDir()
  bin = await installBuilt(folder.path)
  store = environmentOf(join(folder.path, 'store'))
  tree = join(folder.path, 'tree')
  await mkdir(tree)
  await writeFile(join(tree, 'file'), 'contents\n')
  digest = (await runOk(join(bin, 'snix-castore'), ['ingest', tree], { ...store, ...pathWith(bin) })).trim()
}, 180_000)

afterAll(() => folder[Symbol.asyncDispose]())

function environmentOf(path: string): Environment {
  const [blobs, directories, pathInfos] = localStoreFlags(path).map((flag) => flag.replace(/^[^=]*=/, ''))
  return {
    BLOB_SERVICE_ADDR: blobs!,
    DIRECTORY_SERVICE_ADDR: directories!,
    PATH_INFO_SERVICE_ADDR: pathInfos!,
  }
}

/** A line of a script; `$D` is the folder of the test, `$T` the tree in it, `$DIGEST` its digest. */
function script(line: string, env: Environment = {}) {
  const known = { D: folder.path, T: tree, DIGEST: digest }
  return runProgram('sh', ['-c', line], { ...store, ...known, ...pathWith(bin), ...env })
}

test('npm puts every program on the PATH', async () => {
  for (const name of packagePrograms()) {
    const { code, stdout } = await script(`command -v ${name} && ${name} --version`)
    expect({ name, code, stdout }).toEqual({ name, code: 0, stdout: `${join(bin, name)}\n0.1.0\n` })
  }
})

test.each([
  'nar-bridge',
  'snix-store',
  'snix-castore',
  'snix-castore-http',
  'snix-nar-bridge',
  'snix castore',
])('the help of %s names it, and a mistake is told by it', async (name) => {
  const called = name.replace(' ', '-')
  expect((await script(`${name} --help`)).stdout).toContain(`Usage: ${called} [options]`)
  const failed = await script(`${name} --no-such-flag`)
  expect(failed).toMatchObject({ code: 64, stderr: expect.stringMatching(/--no-such-flag|--root-directory/) })
})

const STORE_PATH = /^\/nix\/store\/[0-9a-z]{32}-tree\n$/
const JSON_NODE = /^\{"type":"directory","digest":"blake3-[\w+/]{43}=","size":\d+\}\n$/
const NOTHING = /^$/
const DIGEST = /^blake3-[\w+/]{43}=\n$/
const MEMORY = {
  BLOB_SERVICE_ADDR: 'memory:',
  DIRECTORY_SERVICE_ADDR: 'redb+memory:',
  PATH_INFO_SERVICE_ADDR: 'memory:',
}
const OLD_MEMORY = Object.fromEntries(Object.keys(MEMORY).map((name) => [name, 'memory://']))
const NAR = 'nix-store --dump $T'
const COMPOSITION = `cat > $D/store.toml <<'END'
[blobservices.root]
type = "memory"
[directoryservices.root]
type = "memory"
[pathinfoservices.root]
type = "memory"
END
`

describe.skipIf(!HAS_NIX)(`command lines that come to an end${HAS_NIX ? '' : ' (skipped: no Nix)'}`, () => {
  test.each<[line: string, stdout: RegExp, env?: Environment]>([
    // 4.1: tvix-store
    ['tvix-store import $T', STORE_PATH],
    ['tvix-store --otlp import $T', STORE_PATH],
    ['tvix-store --otlp=false --log-level WARN import "$T/"', STORE_PATH],
    ['RUST_LOG=info,tvix_store=debug OTEL_SERVICE_NAME=x tvix-store import $T', STORE_PATH],
    ['tvix-store import', NOTHING],
    ['cd $T && tvix-store import ../tree $T/file', /^(\/nix\/store\/[0-9a-z]{32}-(tree|file)\n){2}$/],
    ['tvix-store import $T', STORE_PATH, OLD_MEMORY],
    ['tvix-store import --blob-service-addr memory:// --directory-service-addr=memory:// $T', STORE_PATH],
    [`${COMPOSITION} tvix-store import --experimental-store-composition $D/store.toml $T`, STORE_PATH],
    [`${COMPOSITION} EXPERIMENTAL_STORE_COMPOSITION=$D/store.toml tvix-store import $T`, STORE_PATH],
    ['echo \'{"closure":[],"other":1}\' > $D/attrs.json && tvix-store copy $D/attrs.json', NOTHING],
    ['NIX_ATTRS_JSON_FILE=$D/attrs.json tvix-store copy', NOTHING],
    // 4.4 and 4.5: snix-store
    ['echo \'{"closure":[]}\' | snix-store copy -', NOTHING],
    ['snix-store import $T', STORE_PATH],
    ['snix-store import-path $T', STORE_PATH],
    ['snix-store -v -v import-path $T', STORE_PATH, MEMORY],
    ['snix-store -qq --tracer otlp import-path $T', STORE_PATH],
    ['snix-store --quiet --verbose --tracer=otlp --tracer otlp import-path $T', STORE_PATH],
    ['TRACER=otlp,chrome-style snix-store import-path $T', STORE_PATH],
    [`${NAR} | snix-store import-nar -`, JSON_NODE],
    [`${NAR} > $D/a.nar && snix-store import-nar --format json --concurrency 3 $D/a.nar`, JSON_NODE],
    ['gzip -k $D/a.nar && snix-store import-nar $D/a.nar.gz', JSON_NODE],
    ['snix-store import-nar --format=base64 $D/a.nar $D/a.nar', /^(CiQSI[\w+/]+=*|[\w+/]+=*)\n[\w+/]+=*\n$/],
    ['snix-store import-nar --format urlsafe-base64 $D/a.nar', /^[\w-]+\n$/],
    ['echo "[]" | snix-store copy -', NOTHING],
    ['echo "[]" > $D/list.json && snix-store copy $D/list.json', NOTHING],
    ['snix-store copy --jsonl - < /dev/null', NOTHING],
    ['JSONL=true snix-store copy - < /dev/null', NOTHING],
    // 4.4 and 4.5: snix-castore
    ['snix-castore ingest $T', DIGEST],
    ['tar -c -C $D tree > $D/tree.tar && snix-castore ingest $D/tree.tar', DIGEST],
    ['snix-castore -v ingest --blob-service-addr memory: --directory-service-addr redb+memory: $T', DIGEST],
    // 4.5: the dispatcher
    ['snix store import-path $T', STORE_PATH],
    ['snix -v -q castore ingest $T', DIGEST],
  ])('%s', async (line, stdout, env) => {
    const { code, stdout: printed, stderr } = await script(line, env)
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    expect(printed).toMatch(stdout)
  })

  test('a NAR from a socket, as from a file', async () => {
    const socket = join(folder.path, 'nar.socket')
    const nar = await runProgram('sh', ['-c', `nix-store --dump ${tree} | base64 -w0`])
    const server = createServer((peer) => peer.end(Buffer.from(nar.stdout, 'base64'))).listen(socket)
    await once(server, 'listening')
    expect((await script('snix-store import-nar $D/nar.socket')).stdout).toMatch(JSON_NODE)
    server.close()
  })

  test.each([
    ['snix build x', /^snix: snix-build is no part of tvix-store/],
    ['snix eval', /^snix: snix-eval is no part of tvix-store/],
    ['snix nix-daemon', /^snix: snix-nix-daemon is no part of tvix-store/],
    ['snix-store --tracer tracy import-path /nonono', /there is no such tracer here.*tracy/],
    ['DIRECTORY_SERVICE_ADDR=redb:///x snix-store import $T', /redb/],
    ['snix-store mount --uid-gid 5 $D', /no delimiter found/],
    ['snix-store mount --uid-gid x:5 $D', /invalid lhs/],
    ['snix-store mount --uid-gid 5:x $D', /invalid rhs/],
  ])('%s: one clear line', async (line, message) => {
    const { code, stdout, stderr } = await script(line)
    expect({ ok: code === 0, stdout, stderr }).toEqual({
      ok: false,
      stdout: '',
      stderr: expect.stringMatching(message),
    })
  })
})

describe('command lines that serve', () => {
  test.each<[line: string, signal?: NodeJS.Signals, env?: Environment]>([
    ['tvix-store daemon -l $D/s', 'SIGINT'],
    ['tvix-store --otlp=true daemon --listen-address=127.0.0.1:0', 'SIGTERM'],
    ['snix-store daemon -l 127.0.0.1:0 --tcp-reuse-port --tcp-listen-backlog 16 --tcp-keepalive 1000:3:500'],
    ['snix-store daemon -l [::1]:0 --tcp-only-v6 --recv-buffer-size 65536 --send-buffer-size=65536'],
    ['snix-store daemon --listen-address $D/s --unix-listen-unlink --unix-listen-chmod group', 'SIGINT'],
    ['snix-store daemon -l @command-lines-$$ --unix-listen-chmod=everybody', 'SIGTERM', MEMORY],
    ['snix store daemon -l $D/s --unix-listen-uid $(id -u) --unix-listen-gid $(id -g)'],
    ['snix-castore --verbose daemon -l $D/s', 'SIGINT'],
    ['nar-bridge --otlp=false --priority 30 -l 127.0.0.1:0', 'SIGINT'],
    ['PRIORITY=30 nar-bridge --listen-address $D/s --unix-listen-unlink'],
    ['snix-nar-bridge -l $D/s --root-nodes-cache-capacity 500 --tracer otlp'],
    ['ROOT_NODES_CACHE_CAPACITY=10 snix nar-bridge -l $D/s'],
    ['tvix-store virtiofs -l --show-xattr $D/s', 'SIGINT'],
    ['snix-store virtiofs --list-root --uid-gid 0:0 $D/s'],
    ['snix-castore-http -r $DIGEST -l 127.0.0.1:0 --index-names index.html,index.txt -a', 'SIGINT'],
    ['snix castore-http --root-directory=$DIGEST --listen-address $D/s --auto-index'],
    ['snix-castore virtiofs --uid-gid 1:1 --show-xattr $DIGEST $D/s'],
  ])('%s', async (line, signal = 'SIGTERM', env = {}) => {
    const known = { D: folder.path, DIGEST: digest, XDG_STATE_HOME: folder.path }
    const child = spawn('sh', ['-c', `exec env ${line}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...store, ...known, ...pathWith(bin), ...env },
    })
    let [log, stdout] = ['', '']
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
    })
    child.stdout.on('data', (bytes) => {
      stdout += bytes
    })
    const ended = once(child, 'exit')
    await until(() => /starting|waiting for guests/.test(log) || child.exitCode !== null)
    child.kill(signal)
    expect({ ended: await ended, log }).toMatchObject({ ended: [0, null] })
    expect(log).toMatch(/starting|waiting for guests/)
    expect({ stdout, left: existsSync(join(folder.path, 's')) }).toEqual({ stdout: '', left: false })
  })
})

const reason = whyNoMounts()

describe.skipIf(reason)(`command lines that mount${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  beforeAll(async () => {
    namespace = await MountNamespace.create()
    expect((await script('tvix-store import $T')).code).toBe(0)
  })
  afterAll(() => namespace[Symbol.asyncDispose]())

  const LISTED = /^[0-9a-z]{32}-(tree|file)$/m

  test.each<[line: string, listed: RegExp]>([
    ['tvix-store mount -l $M', LISTED],
    ['tvix-store mount --threads 4 --allow-other --list-root --show-xattr $M', LISTED],
    ['THREADS=2 ALLOW_OTHER=true tvix-store mount -l $M', LISTED],
    ['snix-store mount -l --uid-gid 1000:1000 $M', LISTED],
    ['snix store mount --list-root $M', LISTED],
    ['snix-castore mount $DIGEST $M', /^file$/],
    ['snix-castore mount --uid-gid 1:1 --show-xattr $DIGEST $M', /^file$/],
  ])('%s', async (line, listed) => {
    const target = await namespace.directory(`mount-${line.replaceAll(/[^a-z]/g, '')}`)
    const variables = { ...store, ...pathWith(bin), DIGEST: digest, M: target }
    const assigned = Object.entries(variables).map(([name, value]) => `${name}=${value}`)
    const command = ['env', ...assigned, 'sh', '-c', `exec env ${line}`]
    await using mount = await StoreMount.startAs(namespace, target, command)
    expect((await namespace.run('ls', target)).stdout.trim()).toMatch(listed)
    expect(await mount.stop('SIGINT')).toBe(0)
    expect((await namespace.run('mountpoint', '-q', target)).status).not.toBe(0)
  })
})
