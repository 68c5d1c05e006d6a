import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { chmod, readdir, stat } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseListenAddress } from '../../../../src/servers/listen/listen-address.ts'
import {
  type Listener,
  type ListenSettings,
  startListeners,
} from '../../../../src/servers/listen/listener.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { runOk } from '../../../support/cli.ts'
import { IS_ROOT } from '../../../support/requirements.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const HAS_IPV6 = existsSync('/proc/net/if_inet6')
const LOOPBACK_V6: [string, boolean][] = [['[::1]:0', false]]
const SOURCES = join(import.meta.dirname, '../../../../src')
const ignore = () => {}

async function start(address: string, settings: ListenSettings = {}): Promise<Listener> {
  const events = { onSocket: ignore, onError: ignore }
  const [listener] = await startListeners(parseListenAddress(address), settings, events)
  return listener!
}

async function failure(address: string, settings?: ListenSettings): Promise<StoreError> {
  try {
    const listener = await start(address, settings)
    listener.close()
  } catch (error) {
    if (error instanceof StoreError) return error
    throw error
  }
  throw new Error(`listened on ${address}`)
}

describe('addresses', () => {
  test.each([
    ['127.0.0.1:0', /^127\.0\.0\.1:[1-9][0-9]*$/],
    ['localhost:0', /^(127\.0\.0\.1|\[::1\]):[1-9][0-9]*$/],
    ['[::]:0', /^(\[::\]|0\.0\.0\.0):[1-9][0-9]*$/],
  ])('%s', async (address, bound) => {
    const listener = await start(address)
    expect(listener.address).toMatch(bound)
    listener.close()
  })

  test.each(['', '8000', 'localhost', 'localhost:', 'localhost:http', '::1:80', '1.2.3.4:65536', 'a/b:1'])(
    '"%s" is none',
    async (address) => {
      expect(await failure(address)).toMatchObject({ code: 'invalid-argument' })
    },
  )

  test('one that is taken says so', async () => {
    const listener = await start('127.0.0.1:0')
    const error = await failure(listener.address)
    expect(error.message).toBe(`cannot listen on ${listener.address}: another process listens there`)
    listener.close()
  })
})

describe('TCP', () => {
  test.each<[string, boolean]>([
    ['127.0.0.1:0', false],
    ...(HAS_IPV6 ? LOOPBACK_V6 : []),
    ['[::]:0', true],
    ['0.0.0.0:0', true],
  ])('%s is reached from elsewhere: %s', async (address, isExposed) => {
    const listener = await start(address)
    expect(listener).toMatchObject({ isExposed, isTcp: true })
    listener.close()
  })

  test.skipIf(!HAS_IPV6)('[::] takes IPv4 too, unless it is told not to', async () => {
    const dual = await start('[::]:0')
    const connected = async (port: string) => {
      const socket = connect(Number(port), '127.0.0.1')
      return new Promise((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      }).finally(() => socket.destroy())
    }
    expect(await connected(dual.address.split(':').at(-1)!)).toBe(true)
    dual.close()
    const onlyV6 = await start('[::]:0', { onlyV6: true })
    expect(await connected(onlyV6.address.split(':').at(-1)!)).toBe(false)
    onlyV6.close()
  })

  test('several listen on one port if all of them agree', async () => {
    const first = await start('127.0.0.1:0', { reusePort: true })
    const second = await start(first.address, { reusePort: true, keepAliveMs: 1000, backlog: 5 })
    expect(second.address).toBe(first.address)
    expect((await failure(first.address)).message).toContain('another process listens there')
    first.close()
    second.close()
  })
})

describe('permissions of a unix socket', () => {
  test.each([0o600, 0o660, 0o666])('%o, whatever the umask', async (unixMode) => {
    await using dir = await tempDir()
    for (const umask of [0o000, 0o022, 0o077]) {
      const before = process.umask(umask)
      try {
        const listener = await start(`${dir.path}/socket`, { unixMode })
        expect((await stat(`${dir.path}/socket`)).mode & 0o777).toBe(unixMode)
        expect(process.umask(umask)).toBe(umask)
        listener.close()
      } finally {
        process.umask(before)
      }
    }
  })

  test('are right from the first moment: they are not changed after the socket exists', async () => {
    await using dir = await tempDir()
    const script = `
      import { parseListenAddress } from '${SOURCES}/servers/listen/listen-address.ts'
      import { startListeners } from '${SOURCES}/servers/listen/listener.ts'
      import { Server } from 'node:net'
      import { statSync } from 'node:fs'
      const listen = Server.prototype.listen
      Server.prototype.listen = function (...args) {
        const server = listen.apply(this, args)
        console.log((statSync(args[0].path).mode & 0o777).toString(8))
        return server
      }
      const endpoint = parseListenAddress(process.argv[1])
      await startListeners(endpoint, JSON.parse(process.argv[2]), { onSocket() {}, onError() {} })
      process.exit()`
    let sockets = 0
    const modeAtBirth = async (settings: ListenSettings) =>
      (
        await runOk(process.execPath, [
          '--input-type=module',
          '-e',
          script,
          `${dir.path}/${sockets++}`,
          JSON.stringify(settings),
        ])
      ).trim()
    expect(await modeAtBirth({ unixMode: 0o660 })).toBe('660')
    expect(await modeAtBirth({ unixMode: 0o600 })).toBe('600')
    // Whoever is to own it may come in when it is theirs, and nobody before.
    expect(await modeAtBirth({ unixMode: 0o666, unixGid: process.getgid!() })).toBe('600')
  })

  test.skipIf(!IS_ROOT)('owner and group (skipped for others than root)', async () => {
    await using dir = await tempDir()
    const listener = await start(`${dir.path}/socket`, { unixMode: 0o660, unixUid: 1234, unixGid: 4321 })
    const { mode, uid, gid } = await stat(`${dir.path}/socket`)
    expect({ mode: mode & 0o777, uid, gid }).toEqual({ mode: 0o660, uid: 1234, gid: 4321 })
    listener.close()
    const group = await start(`${dir.path}/socket`, { unixGid: 4321 })
    expect(await stat(`${dir.path}/socket`)).toMatchObject({ uid: 0, gid: 4321 })
    group.close()
  })

  test.skipIf(!IS_ROOT)('keep out who has none (skipped for others than root)', async () => {
    await using dir = await tempDir()
    await chmod(dir.path, 0o755)
    const path = `${dir.path}/socket`
    const script = `
      process.setgroups([]); process.setgid(Number(process.argv[2])); process.setuid(Number(process.argv[1]))
      require('net').connect(${JSON.stringify(path)})
        .once('connect', () => { console.log('in'); process.exit() })
        .once('error', (error) => { console.log(error.code); process.exit() })`
    const as = async (uid: number, gid: number) =>
      (await runOk(process.execPath, ['-e', script, String(uid), String(gid)])).trim()
    const listener = await start(path, { unixMode: 0o660, unixUid: 1234, unixGid: 4321 })
    expect(await Promise.all([as(1234, 9), as(9, 4321), as(9, 9)])).toEqual(['in', 'in', 'EACCES'])
    listener.close()
  })
})

describe('abstract sockets', () => {
  test('are reached by their name and leave no file', async () => {
    const name = `@tvix-store-test-${process.pid}`
    const listener = await start(name)
    expect(listener).toMatchObject({ address: name, isTcp: false, isExposed: false })
    const socket = connect(`\0${name.slice(1)}`)
    await once(socket, 'connect')
    socket.destroy()
    expect((await failure(name)).message).toBe(`cannot listen on ${name}: another process listens there`)
    listener.close()
  })
})

describe('unix sockets', () => {
  test('the socket of a successor stays when the one that it replaced stops', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const before = await start(path)
    const after = await start(path, { unixUnlink: true })
    before.close()
    expect(await readdir(dir.path)).toEqual(['socket'])
    const socket = connect(path)
    await once(socket, 'connect')
    socket.destroy()
    after.close()
    expect(await readdir(dir.path)).toEqual([])
  })

  test('the socket goes away with its listener', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const listener = await start(path)
    expect(listener.address).toBe(path)
    expect((await stat(path)).isSocket()).toBe(true)
    listener.close()
    await expect(stat(path)).rejects.toThrow('ENOENT')
  })

  test('a socket that a killed process left is replaced', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
    await expect(runOk(process.execPath, ['-e', script])).rejects.toThrow()
    expect((await stat(path)).isSocket()).toBe(true)
    const listener = await start(path)
    listener.close()
  })

  test('a socket on which somebody answers is left alone', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const other = createServer().listen(path)
    await once(other, 'listening')
    expect((await failure(path)).message).toContain('another process listens there')
    expect((await stat(path)).isSocket()).toBe(true)
    other.close()
  })

  test('unixUnlink replaces it all the same, but nothing else than a socket', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/socket`
    const other = createServer().listen(path)
    await once(other, 'listening')
    const listener = await start(path, { unixUnlink: true })
    listener.close()
    other.close()
    writeFileSync(path, 'precious')
    expect(await failure(path, { unixUnlink: true })).toMatchObject({ code: 'precondition' })
    expect((await stat(path)).size).toBe(8)
  })

  test('a file that is no socket is left alone', async () => {
    await using dir = await tempDir()
    const path = `${dir.path}/file`
    writeFileSync(path, 'precious')
    const error = await failure(path)
    expect(error).toMatchObject({ code: 'precondition' })
    expect(error.message).toContain('something that is no socket is in the way')
    expect((await stat(path)).size).toBe(8)
  })

  test('a folder that does not exist is named', async () => {
    const error = await failure('/nonexistent/folder/socket')
    expect(error.message).toBe(
      'cannot listen on /nonexistent/folder/socket: the folder of the socket does not exist',
    )
  })

  test.skipIf(process.getuid?.() === 0)('a folder without permission (skipped for root)', async () => {
    await using dir = await tempDir()
    await chmod(dir.path, 0o500)
    expect(await failure(`${dir.path}/socket`)).toMatchObject({ code: 'denied' })
    await chmod(dir.path, 0o700)
  })
})
