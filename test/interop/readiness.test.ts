/** How whoever starts a command that serves learns that it does. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { localStoreFlags, run, startDaemon, TVIX_STORE } from '../support/cli.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tvix-store-ready-'))
})

afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

const daemonArgs = () => ['daemon', '-l', join(folder, 'socket'), ...localStoreFlags(folder)]

test('--ready-fd gets a line feed when the daemon serves, and is closed', async () => {
  const child = spawn(TVIX_STORE, [...daemonArgs(), '--ready-fd=3'], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  try {
    let told = ''
    for await (const piece of child.stdio[3] as AsyncIterable<Buffer>) told += piece
    expect(told).toBe('\n')
    expect(child.exitCode).toBeNull()
  } finally {
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
})

test('--ready-fd that is not open is one clear line', async () => {
  const { code, stderr } = await run(TVIX_STORE, [...daemonArgs(), '--ready-fd=77'])
  expect(code).toBe(64)
  expect(stderr).toMatch(/^tvix-store: --ready-fd 77: /m)
  // Known before it serves: a mount would be left behind.
  expect(stderr).not.toContain('starting daemon')
})

test('--ready-fd is refused when the descriptor is one of Node and not of whoever started it', async () => {
  const polls = readdirSync('/proc/self/fd').find((fd) => isPolled(fd))
  const { code, stderr } = await run(TVIX_STORE, [...daemonArgs(), `--ready-fd=${polls}`])
  expect(code).toBe(64)
  expect(stderr).toMatch(/^tvix-store: --ready-fd \d+: it was not passed on/m)
})

test('a --ready-fd that nobody reads any more does not end what serves', async () => {
  const child = spawn(TVIX_STORE, [...daemonArgs(), '--ready-fd=3'], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  })
  child.stdio[3]!.destroy()
  let log = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  await expect.poll(() => log, { timeout: 20_000 }).toContain('nobody can be told on --ready-fd 3')
  child.kill('SIGTERM')
  expect(await once(child, 'exit')).toEqual([0, null])
})

/** Listens as a service manager does, and prints what it is told until it was told twice. */
const MANAGER = `
import socket, sys
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
path = sys.argv[1]
manager.bind('\\0' + path[1:] if path[0] == '@' else path)
print('listening', flush=True)
for _ in range(2): print(manager.recv(4096).decode(), flush=True)
`

describe.each(['a path', 'an abstract name'])('a service manager at %s', (kind) => {
  test('hears READY=1 and STOPPING=1', async () => {
    const address = kind === 'a path' ? join(folder, 'notify') : `@${folder}/notify`
    const manager = spawn('python3', ['-c', MANAGER, address], { stdio: ['ignore', 'pipe', 'inherit'] })
    const lines: string[] = []
    const heard = (async () => {
      for await (const piece of manager.stdout.setEncoding('utf8')) lines.push(piece)
    })()
    await once(manager.stdout, 'readable')
    const child = spawn(TVIX_STORE, daemonArgs(), {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, NOTIFY_SOCKET: address },
    })
    child.stderr.resume()
    await expect.poll(() => lines.join(''), { timeout: 20_000 }).toContain('READY=1')
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    await heard
    expect(code).toBe(0)
    expect(lines.join('')).toBe('listening\nREADY=1\nSTOPPING=1\n')
  })
})

describe('--daemonize', () => {
  test('returns when the daemon serves, which goes on', async () => {
    const { code, stderr } = await run(
      'sh',
      [
        '-c',
        '"$0" "$@" --daemonize 2>"$LOG"; code=$?; cat "$LOG" >&2; exit $code',
        TVIX_STORE,
        ...daemonArgs(),
      ],
      { LOG: join(folder, 'log') },
    )
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining('starting daemon') })
    const flags = ['blob', 'directory', 'path-info'].map(
      (kind) => `--${kind}-service-addr=grpc+unix://${join(folder, 'socket')}`,
    )
    try {
      const imported = await run(TVIX_STORE, ['import', ...flags, '/etc/hostname'])
      expect(imported).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^\/nix\/store\/.*-hostname\n$/),
      })
    } finally {
      for (const pid of pidsWith(join(folder, 'socket'))) process.kill(pid, 'SIGTERM')
    }
  })

  test('tells whoever waits at --ready-fd, too', async () => {
    const child = spawn(TVIX_STORE, [...daemonArgs(), '--ready-fd', '4', '--daemonize'], {
      stdio: ['ignore', 'ignore', 'ignore', 'ignore', 'pipe'],
    })
    try {
      const exited = once(child, 'exit')
      let told = ''
      for await (const piece of child.stdio[4] as AsyncIterable<Buffer>) told += piece
      const [code] = await exited
      expect({ code, told }).toEqual({ code: 0, told: '\n' })
    } finally {
      for (const pid of pidsWith(join(folder, 'socket'))) process.kill(pid, 'SIGTERM')
    }
  })

  test('tells of a process that was killed before it served', async () => {
    const mute = createServer().listen(join(folder, 'mute'))
    await once(mute, 'listening')
    const address = `--blob-service-addr=grpc+unix://${folder}/mute?wait-connect=1`
    const starting = run(TVIX_STORE, [...daemonArgs(), address, '--daemonize'])
    await once(mute, 'connection')
    for (const pid of pidsWith('--ready-fd=3', address)) process.kill(pid, 'SIGKILL')
    mute.close()
    expect(await starting).toMatchObject({
      code: 70,
      stderr: expect.stringContaining('--daemonize: it was ended by SIGKILL before it served'),
    })
  })

  test('ends with the exit code of a daemon that cannot start', async () => {
    await using _other = await startDaemon(folder)
    const { code } = await run(TVIX_STORE, [
      'daemon',
      '--daemonize',
      '-l',
      '/no/such/folder/socket',
      ...localStoreFlags(folder),
    ])
    expect(code).toBe(66)
  })
})

/** Whether Node polls with it, here as in any other of its processes. */
function isPolled(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventpoll]'
  } catch {
    return false // it was that of readdir
  }
}

/** Processes with these among their arguments: nobody else knows the one that went into the background. */
function pidsWith(...wanted: string[]): number[] {
  return readdirSync('/proc')
    .filter((name) => /^[0-9]+$/.test(name))
    .filter((pid) => wanted.every((argument) => commandLine(pid).includes(argument)))
    .map(Number)
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return [] // it ended meanwhile
  }
}
