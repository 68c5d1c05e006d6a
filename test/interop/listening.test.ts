/** The daemon's listeners as an operator sets them up: flags, sockets of the service manager, TLS, tokens, roles. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { rename, stat } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuthority, createCertificate, HAS_OPENSSL } from '../support/certificates.ts'
import { localStoreFlags, remoteStoreFlags, run, TVIX_STORE, until } from '../support/cli.ts'
import { tempDir } from '../support/temp-dir.ts'

const NOWHERE = localStoreFlags('/tmp/never-made')

describe('one line, and the exit code', () => {
  test.each<[string, string[], number, RegExp]>([
    ['inetd', ['-l', 'inetd'], 64, /no inetd mode: let systemd/],
    ['a role that is none', ['-l', '127.0.0.1:0?role=readonly'], 64, /unknown role "readonly"/],
    [
      'no sockets from anybody',
      ['-l', 'sd-listen'],
      73,
      /cannot listen on sd-listen: no sockets were passed/,
    ],
    ['half of a certificate', ['--tls-cert', '/c'], 64, /--tls-cert and --tls-key go together/],
    [
      'clients with certificates and no TLS',
      ['--tls-client-ca', '/c'],
      64,
      /--tls-client-ca needs --tls-cert/,
    ],
    [
      'a certificate that is not there',
      ['--tls-cert', '/no/c', '--tls-key', '/k'],
      66,
      /cannot read \/no\/c/,
    ],
    ['tokens that are not there', ['--token-file', '/no/tokens'], 66, /cannot read \/no\/tokens/],
    ['a mode that is none', ['--unix-listen-chmod', '0660'], 64, /owner, group, everybody/],
    ['an owner that is no number', ['--unix-listen-uid', 'root'], 64, /it is a number/],
    ['a keepalive that is none', ['--tcp-keepalive', '1:2:3:4'], 64, /time_ms:count:interval_ms/],
  ])('%s', async (_, args, code, message) => {
    await using dir = await tempDir()
    const stores = args[0] === '-l' ? localStoreFlags(dir.path) : NOWHERE
    const { stderr, code: actual } = await run(TVIX_STORE, ['daemon', ...args, ...stores])
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/^\s+at /m) // no stack trace
    expect(actual).toBe(code)
  })
})

interface Running extends AsyncDisposable {
  readonly bound: readonly string[]
  readonly log: () => string
}

/** Starts a program that is or becomes a daemon with so many listeners; ends it with SIGTERM and wants exit code 0. */
async function start(child: ChildProcess, listeners: number): Promise<Running> {
  let log = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const exited = once(child, 'exit')
  const bound = () =>
    [...log.matchAll(/starting daemon \{"listen_address":"([^"]*)"\}/g)].map((match) => match[1]!)
  await until(() => bound().length === listeners || child.exitCode !== null)
  if (child.exitCode !== null) throw new Error(`the daemon did not start:\n${log}`)
  return {
    bound: bound(),
    log: () => log,
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      expect(await exited).toEqual([0, null])
    },
  }
}

function daemon(folder: string, args: readonly string[], listeners: number): Promise<Running> {
  const stdio = ['ignore', 'ignore', 'pipe'] as const
  return start(
    spawn(TVIX_STORE, ['daemon', ...args, ...localStoreFlags(folder)], { stdio: [...stdio] }),
    listeners,
  )
}

function importTo(address: string) {
  return run(TVIX_STORE, ['import', ...remoteStoreFlags(address), '/etc/hosts'])
}

test('several at once, each with its role; flags that Node has no way for are named once', async () => {
  await using dir = await tempDir()
  const socket = `${dir.path}/socket`
  const listeners = ['127.0.0.1:0?role=read-only', socket, `@tvix-store-test-${process.pid}`]
  const flags = ['--unix-listen-chmod', 'group', '--recv-buffer-size', '1', '--tcp-keepalive', '1000:5:']
  await using server = await daemon(dir.path, [...flags, '-l', ...listeners], 3)
  expect(server.bound.slice(1)).toEqual(listeners.slice(1))
  expect((await stat(socket)).mode & 0o777).toBe(0o660)
  expect(server.log().match(/ignored/g)).toHaveLength(1)
  expect(server.log()).toContain('"--recv-buffer-size, count and interval of --tcp-keepalive"')
  expect(await importTo(`grpc+unix://${socket}`)).toMatchObject({ code: 0 })
  const refused = await importTo(`grpc+http://${server.bound[0]}`)
  // Some of it is there already; the path info is what has to be put again.
  expect(refused).toMatchObject({ code: 77, stdout: '' })
  expect(refused.stderr).toContain('Put: not permitted on 127.0.0.1:0, which is read-only')
})

test('sockets of the service manager', async () => {
  await using dir = await tempDir()
  const path = `${dir.path}/socket`
  const servers = [createServer().listen(0, '127.0.0.1'), createServer().listen(path)]
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const { port } = servers[0]!.address() as { port: number }
  const variables = 'LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=tcp:unix'
  const listeners = ['-l', 'sd-listen:unix?role=read-only', 'sd-listen:tcp']
  const child = spawn(
    'sh',
    ['-c', `${variables} exec "$@"`, 'sh', TVIX_STORE, 'daemon', ...listeners, ...localStoreFlags(dir.path)],
    { stdio: ['ignore', 'ignore', 'pipe', ...servers.map(descriptor)] },
  )
  await using running = await start(child, 2)
  expect(running.bound).toEqual(['sd-listen (descriptor 4)', `127.0.0.1:${port}`])
  // The child has descriptors of its own; we must not take its connections, nor the path of its socket with us.
  await rename(path, `${path}.moved`)
  for (const server of servers) server.close()
  expect(await importTo(`grpc+http://127.0.0.1:${port}`)).toMatchObject({ code: 0 })
  expect(await importTo(`grpc+unix://${path}.moved`)).toMatchObject({ code: 77 })
})

describe.skipIf(!HAS_OPENSSL)(
  'TLS and tokens (skipped without openssl, which makes the certificates)',
  () => {
    let folder: Awaited<ReturnType<typeof tempDir>>
    beforeAll(async () => {
      folder = await tempDir()
    })
    afterAll(() => folder[Symbol.asyncDispose]())

    test('an import with all of it, and without', async () => {
      const { path } = folder
      const ours = createAuthority(path, 'ours')
      const server = createCertificate(path, 'server', { signer: ours, names: 'IP:127.0.0.1' })
      const client = createCertificate(path, 'client', { signer: ours, names: 'DNS:client' })
      writeFileSync(`${path}/tokens`, 'read:R3AD\nput:PUT5\n')
      writeFileSync(`${path}/reader`, 'R3AD\n')
      writeFileSync(`${path}/writer`, 'PUT5\n')
      const tls = ['--tls-cert', server.cert, '--tls-key', server.key, '--tls-client-ca', ours.cert]
      await using running = await daemon(
        path,
        [...tls, '--token-file', `${path}/tokens`, '-l', '127.0.0.1:0'],
        1,
      )

      const bare = `grpc+https://${running.bound[0]}?tls-ca-cert-path=${ours.cert}`
      const known = `${bare}&tls-client-cert-path=${client.cert}&tls-client-key-path=${client.key}`
      const cases: [address: string, code: number, message: RegExp][] = [
        [`${known}&token-file=${path}/writer`, 0, /^imported 1\/1 path/],
        [`${known}&token-file=${path}/reader`, 77, /the bearer token does not allow to put/],
        [known, 77, /a bearer token is needed/],
        [bare, 77, /the server wants a client certificate/],
      ]
      for (const [address, code, message] of cases) {
        const outcome = await importTo(address)
        expect(outcome).toMatchObject({ code, stderr: expect.stringMatching(message) })
        expect(outcome.stderr).not.toMatch(/^\s+at /m)
      }
      expect(running.log().match(/WARN.*/g)).toEqual([
        expect.stringContaining('refused a client'),
        expect.stringContaining('a TLS handshake failed'),
      ])
      expect(running.log()).not.toMatch(/R3AD|PUT5|^\s+at /m)
    })
  },
)

interface HandleOfServer {
  readonly _handle: { readonly fd: number }
}

/** For `stdio` of a child. */
function descriptor(server: Server): number {
  return (server as unknown as HandleOfServer)._handle.fd
}
