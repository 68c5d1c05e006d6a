/** What people get wrong, and what they are told: one line that names the object and the next step, and an exit code. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { localStoreFlags, remoteStoreFlags, run, startDaemon, TVIX_STORE, until } from '../support/cli.ts'
import { startHostileServer } from '../support/hostile-grpc.ts'
import { IS_ROOT } from '../support/requirements.ts'
import { tempDir } from '../support/temp-dir.ts'

const MEMORY = ['--directory-service-addr', 'memory:']

const CASES: [title: string, args: string[], code: number, message: RegExp][] = [
  ['an unknown command', ['bogus'], 64, /unknown command 'bogus'/],
  ['no mount point', ['mount'], 64, /missing required argument 'dest'/],
  ['a mount point that is not there', ['mount', '/no/such/place'], 66, /does not exist; create it with/],
  ['a mount point that is a file', ['mount', '/etc/passwd'], 64, /not a directory; name an empty directory/],
  ['a mount point that is not empty', ['mount', '/etc'], 73, /not empty .*; choose an empty directory/],
  [
    'a profile that is a folder, before hours of recording',
    [
      'mount',
      '--record',
      '/tmp',
      ...MEMORY,
      '--blob-service-addr',
      'memory:',
      '--path-info-service-addr',
      'memory:',
      '/no/such/place',
    ],
    73,
    /unable to write \/tmp: it is a folder/,
  ],
  [
    'a cache folder below a file',
    [
      'mount',
      '--cache-dir',
      '/etc/passwd',
      ...MEMORY,
      '--blob-service-addr',
      'memory:',
      '--path-info-service-addr',
      'memory:',
      '/no/such/place',
    ],
    73,
    /the blob cache \/etc\/passwd cannot be used: a part of the path is a file/,
  ],
  ['a mount point without a name', ['mount', ''], 64, /the mount point has no name/],
  [
    'a cache folder that the mount would hide',
    ['mount', '--cache-dir', '/no/such/place/cache', '/no/such/place'],
    64,
    /--cache-dir .* lies in the mount point, which hides it/,
  ],
  [
    'a profile that the mount would hide',
    ['mount', '--record', '/no/such/place/profile', '/no/such/place'],
    64,
    /--record .* lies in the mount point, which hides it/,
  ],
  ['the size of no cache', ['mount', '--cache-size', '1G', '/tmp'], 64, /--cache-size goes with --cache-dir/],
  [
    'passing through with the other driver',
    ['mount', '--passthrough', '--driver', 'libfuse', '/tmp'],
    64,
    /--passthrough needs the native driver/,
  ],
  [
    'the mount point in the place of a format',
    ['mount', '--stats', '/mnt'],
    64,
    /write --stats behind the other/,
  ],
  ['an owner with too many parts', ['mount', '--uid-gid', '1:2:3', '/tmp'], 64, /invalid rhs/],
  ['an owner that is none', ['mount', '--uid-gid', '5', '/tmp'], 64, /no delimiter found/],
  [
    'an unknown address',
    ['import', '--blob-service-addr', 'foo://x', '/etc/hosts'],
    64,
    /foo:\/\/x is no address for blobs/,
  ],
  [
    'a redb address',
    ['import', '--directory-service-addr', 'redb:///x', '/etc/hosts'],
    69,
    /use lmdb:\/\/\/path/,
  ],
  [
    'nobody at the address',
    ['import', '--blob-service-addr', 'grpc+unix:///no/socket', '/etc/hosts'],
    69,
    /nobody answers.*tvix-store daemon/,
  ],
  [
    'a listen address that is none',
    ['daemon', '-l', 'nonsense', ...localStoreFlags('/tmp/never-made')],
    64,
    /cannot listen on nonsense/,
  ],
  [
    'a store where nothing can be stored',
    ['daemon', ...localStoreFlags('/proc/nothing')],
    69,
    /\/proc\/nothing/,
  ],
  ['nothing to copy', ['copy'], 64, /give a reference graph, or --from and store paths/],
  ['an empty name of a reference graph', ['copy', ''], 64, /give a reference graph/],
  ['a folder as a reference graph', ['copy', '/tmp'], 64, /is a folder and no reference graph.*--from local/],
  ['a reference graph that is not there', ['copy', '/no/such'], 66, /unable to read \/no\/such/],
  ['two reference graphs', ['copy', 'a', 'b'], 64, /one reference graph at a time/],
  ['everything of nothing', ['copy', '--all'], 64, /--all needs --from/],
  ['a copy of no paths', ['copy', '--from', 'local'], 64, /name the store paths to copy, or say --all/],
  ['paths and everything', ['copy', '--from', 'local', '--all', 'x'], 64, /either store paths or --all/],
  ['half a source', ['copy', '--from-blob-service-addr', 'memory:', 'x'], 64, /or the three --from-/],
  [
    'two destinations',
    ['copy', '--from', 'local', '--to', 'memory:', '--blob-service-addr', 'memory:', 'x'],
    64,
    /either --to, or the three/,
  ],
  ['a path that is no store path', ['ls', '/etc/passwd'], 64, /"\/etc\/passwd" is not a store path, such as/],
  ['a name that is no store path', ['cat', 'foo'], 64, /"foo" is not a store path, such as/],
  ['a folder as a NAR', ['import-nar', '--blob-service-addr', 'memory:', ...MEMORY, '/etc'], 64, /EISDIR/],
  ['a key where no file can be', ['key', 'generate', 'k', '-o', '/proc/no/key'], 73, /unable to write/],
  ['a store path and everything', ['path-info', '--all', 'x'], 64, /either store paths or --all/],
  ['no store path at all', ['path-info'], 64, /name store paths, or say --all/],
  ['a name for several NARs', ['import-nar', '--name', 'x', 'a', 'b'], 64, /--name is for one NAR/],
  ['a key without a legal name', ['key', 'generate', 'a b'], 64, /name of a key/],
  [
    'a log level that is none',
    ['--log-level', 'loud', 'import', '/etc/hosts'],
    64,
    /error, warn, info, debug/,
  ],
]

describe('one line, and the exit code', () => {
  test.each(CASES)('%s', async (_, args, code, message) => {
    const { stderr, stdout, code: actual } = await run(TVIX_STORE, args)
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m) // no stack trace
    expect({ stdout, code: actual }).toEqual({ stdout: '', code })
  })
})

test('what a peer calls an internal error shows no trace of ours', async () => {
  await using peer = await startHostileServer({
    'BlobService/Stat': (call) => call.trailersOnly(3, 'invalid digest length'),
    'PathInfoService/Get': (call) => call.trailersOnly(2, 'disk on fire'),
  })
  const path = `/nix/store/${'0'.repeat(32)}-a`
  const { code, stderr } = await run(TVIX_STORE, ['ls', ...remoteStoreFlags(peer.address), path])
  expect(stderr).toMatch(/^tvix-store: .*: disk on fire\n$/)
  expect(code).toBe(70)
})

describe('help has an example', () => {
  const commands = [
    'daemon',
    'import',
    'mount',
    'copy',
    'import-nar',
    'ls',
    'cat',
    'path-info',
    'export-nar',
    'key',
  ]
  test.each(commands)('%s', async (command) => {
    const { stdout, code } = await run(TVIX_STORE, [command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/Examples?:\n {2}\$ .*tvix-store /)
  })
})

test('a name that cannot be in a store path is told before anything is stored', async () => {
  await using dir = await tempDir()
  const path = join(dir.path, 'not:possible')
  await writeFile(path, 'x')
  const { code, stderr } = await run(TVIX_STORE, [
    'import',
    ...localStoreFlags(join(dir.path, 'store')),
    path,
  ])
  expect({ code, stderr }).toMatchObject({ code: 64, stderr: expect.stringContaining('not:possible') })
})

test('the first failure ends an import; what was printed before stays imported', async () => {
  await using dir = await tempDir()
  const good = join(dir.path, 'good')
  await writeFile(good, 'good')
  const flags = localStoreFlags(join(dir.path, 'store'))
  const { code, stdout, stderr } = await run(TVIX_STORE, ['import', ...flags, good, join(dir.path, 'gone')])
  expect(code).toBe(66)
  expect(stderr).toContain('gone')
  const again = await run(TVIX_STORE, ['import', ...flags, good])
  expect(again.code).toBe(0)
  expect(`${again.stdout}`).toContain(stdout)
})

test('a home in which nothing can be created costs nothing but time', async () => {
  // Where the kernel says that the folder above is not there, though it is.
  for (const env of [{ HOME: '/proc/none', XDG_CACHE_HOME: '' }, { XDG_CACHE_HOME: '/proc/none' }])
    expect(await run(TVIX_STORE, ['--version'], env)).toMatchObject({ code: 0 })
})

test('a port, or a socket, that is taken', async () => {
  await using dir = await tempDir()
  const state = join(dir.path, 'state')
  await mkdir(state)
  await using daemon = await startDaemon(state)
  const socket = daemon.address.slice('grpc+unix://'.length)
  const { code, stderr } = await run(TVIX_STORE, [
    'daemon',
    '-l',
    socket,
    ...localStoreFlags(join(dir.path, 'other')),
  ])
  expect(code).not.toBe(0)
  expect(stderr).toContain(socket)
})

test('SIGUSR1 opens no debugger, as Node would', async () => {
  await using dir = await tempDir()
  await using daemon = await startDaemon(dir.path)
  process.kill(daemon.pid, 'SIGUSR1')
  // By the time it answers and ends it would have said so.
  const { code } = await run(TVIX_STORE, ['path-info', '--all', ...remoteStoreFlags(daemon.address)])
  expect(code).toBe(0)
  expect(await daemon.stop('SIGTERM')).toBe(0)
  expect(daemon.log()).not.toContain('Debugger')
})

test('a daemon ends with 0 on SIGTERM, and its socket may be used again after SIGKILL', async () => {
  await using dir = await tempDir()
  const first = await startDaemon(dir.path)
  await first.stop('SIGKILL')
  const second = await startDaemon(dir.path)
  expect(await second.stop('SIGTERM')).toBe(0)
})

test.skipIf(!IS_ROOT)('a user who may not write below /var/lib gets a store in their home', async () => {
  await using dir = await tempDir()
  const script = `cd / && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"`
  const { stdout } = await run('sh', ['-c', script, TVIX_STORE, 'daemon', '--help'], { HOME: dir.path })
  expect(stdout.replaceAll(/\s+/g, '')).toContain(`${dir.path}/.local/state/tvix-store/directories.lmdb`)
})

describe('standard output', () => {
  test.each(['key generate k', 'config show', '--help', '--version'])(
    'that is full is a failure of %s',
    async (command) => {
      const { code, stderr } = await run('sh', ['-c', `${TVIX_STORE} ${command} > /dev/full`])
      expect({ code, stderr }).toEqual({
        code: 73,
        stderr: expect.stringMatching(/^tvix-store: unable to write to standard output: ENOSPC/),
      })
    },
  )

  test('whose reader leaves keeps nothing from being imported', async () => {
    await using dir = await tempDir()
    await using daemon = await startDaemon(dir.path)
    const flags = remoteStoreFlags(daemon.address).join(' ')
    const files = ['a', 'b'].map((name) => join(dir.path, name))
    for (const file of files) await writeFile(file, file)
    // The descriptor is one whose other end is closed before anything is written.
    const command = `exec 3>&1; { ${TVIX_STORE} import ${flags} ${files.join(' ')}; echo $? >&3; } | true`
    const { stdout, stderr } = await run('bash', ['-c', command], { XDG_CACHE_HOME: dir.path })
    expect(stderr).toMatch(/^imported 2\/2 paths, 2 files/)
    expect(stdout).toBe('0\n')
  })
})

test('a public key that cannot be written leaves no secret one behind', async () => {
  await using dir = await tempDir()
  const secret = join(dir.path, 'secret')
  const { code } = await run(TVIX_STORE, ['key', 'generate', 'k', '-o', secret, '--public', dir.path])
  expect(code).toBe(73)
  expect(existsSync(secret)).toBe(false)
})

test('a NAR onto a folder leaves nothing behind', async () => {
  await using dir = await tempDir()
  await using daemon = await startDaemon(dir.path)
  const flags = remoteStoreFlags(daemon.address)
  const [source, target] = [join(dir.path, 'source'), join(dir.path, 'target')]
  await writeFile(source, 'x')
  await mkdir(target)
  const imported = await run(TVIX_STORE, ['import', ...flags, source], { XDG_CACHE_HOME: dir.path })
  const { code, stderr } = await run(TVIX_STORE, [
    'export-nar',
    ...flags,
    imported.stdout.trim(),
    '-o',
    target,
  ])
  expect({ code, stderr }).toEqual({ code: 73, stderr: expect.stringContaining('unable to write') })
  expect((await readdir(dir.path)).filter((name) => name.startsWith('target'))).toEqual(['target'])
})

test('an export that is given up leaves no part of its file', async () => {
  await using dir = await tempDir()
  const [source, target, socket] = ['source', 'target', 'silent'].map((name) => join(dir.path, name))
  await writeFile(source!, 'x')
  const imported = await run(TVIX_STORE, ['import', ...localStoreFlags(dir.path), source!])
  const connected = Promise.withResolvers<void>()
  const server = createServer(() => connected.resolve()).listen(socket)
  const [, ...others] = localStoreFlags(dir.path)
  const flags = [`--blob-service-addr=grpc+unix:${socket}`, ...others, '-o', target!]
  const child = spawn(TVIX_STORE, ['export-nar', ...flags, imported.stdout.trim()], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  await connected.promise
  await until(async () => (await readdir(dir.path)).some((name) => name.startsWith('target.')))
  child.kill('SIGINT')
  expect((await exited)[0]).toBe(130)
  expect((await readdir(dir.path)).filter((name) => name.startsWith('target'))).toEqual([])
  server.close()
})

test('a NAR that never comes can be given up', async () => {
  await using dir = await tempDir()
  const socket = join(dir.path, 'silent')
  const connected = Promise.withResolvers<void>()
  // Or it would end its side when the other one does, and nothing at all would be what came.
  const server = createServer({ allowHalfOpen: true }, () => connected.resolve()).listen(socket)
  const flags = remoteStoreFlags('memory:')
  const child = spawn(TVIX_STORE, ['import-nar', ...flags, socket], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  await connected.promise
  child.kill('SIGINT')
  expect((await exited)[0]).toBe(130)
  server.close()
})
