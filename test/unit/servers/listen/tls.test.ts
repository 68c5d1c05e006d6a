import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { createGrpcServer } from '../../../../src/servers/grpc/server.ts'
import { loadServerTls } from '../../../../src/servers/listen/tls.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import { openGrpcChannel } from '../../../../src/services/grpc-channel.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import {
  type Certificate,
  createAuthority,
  createCertificate,
  HAS_OPENSSL,
} from '../../../support/certificates.ts'
import { run, until } from '../../../support/cli.ts'
import { memoryParts } from '../../../support/grpc-server.ts'

import { recordingLogger } from '../../../support/recording-logger.ts'

const DIGEST = Digest.of(Buffer.from('nobody has this'))

describe.skipIf(!HAS_OPENSSL)('TLS (skipped without openssl, which makes the certificates)', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-test-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  const files: Record<string, Certificate> = {}
  beforeAll(() => {
    const ours = createAuthority(folder, 'ours')
    const other = createAuthority(folder, 'other')
    const names = 'DNS:localhost,IP:127.0.0.1'
    Object.assign(files, {
      ours,
      other,
      server: createCertificate(folder, 'server', { signer: ours, names }),
      expired: createCertificate(folder, 'expired', { signer: ours, names, expired: true }),
      elsewhere: createCertificate(folder, 'elsewhere', { signer: ours, names: 'DNS:elsewhere.example' }),
      client: createCertificate(folder, 'client', { signer: ours, names: 'DNS:client' }),
      stranger: createCertificate(folder, 'stranger', { signer: other, names: 'DNS:client' }),
      expiredClient: createCertificate(folder, 'expiredClient', {
        signer: ours,
        names: 'DNS:c',
        expired: true,
      }),
    })
  })

  interface Setup {
    readonly server?: string
    readonly clientCa?: string
    readonly ca?: string
    readonly client?: string
    readonly scheme?: string
  }

  /** Asks a server for a blob that it does not have; what both sides say of it. */
  async function ask({
    server: serverName = 'server',
    clientCa,
    ca = 'ours',
    client,
    scheme = 'grpc+https',
  }: Setup) {
    const { logger, lines } = recordingLogger()
    const { cert, key } = files[serverName]!
    const tls = loadServerTls({ cert, key, clientCa: clientCa && files[clientCa]!.cert })
    const server = createGrpcServer({ ...memoryParts(), logger, tls })
    const bound = await server.listen('127.0.0.1:0')
    const query = new URLSearchParams()
    if (scheme === 'grpc+https') query.set('tls-ca-cert-path', files[ca]!.cert)
    if (client) query.set('tls-client-cert-path', files[client]!.cert)
    if (client) query.set('tls-client-key-path', files[client]!.key)
    const address = `${scheme}://${bound}?${query}`
    const channel = await openGrpcChannel(address)
    const failure = await grpcBlobService(channel)
      .has(DIGEST)
      .then(
        (found) => found,
        (error: unknown) => error,
      )
    // The channel goes on trying, as long as it is open.
    if (failure instanceof StoreError) await until(() => lines.length > 0)
    const eager = await openGrpcChannel(`${address}&wait-connect=1`).catch((error: unknown) => error)
    if (!(eager instanceof Error)) (eager as typeof channel).close()
    channel.close()
    const told = lines.map(({ level: _, time: __, ...line }) => line)
    await server.shutdown(0)
    return { failure, eager, address, lines: told }
  }

  test.each([
    ['with our authority', {}],
    ['with a client certificate', { clientCa: 'ours', client: 'client' }],
    ['with a client certificate that nobody asked for', { client: 'stranger' }],
  ])('works %s', async (_, setup: Setup) => {
    const { failure, lines } = await ask(setup)
    expect(failure).toBe(false)
    expect(lines).toEqual([])
  })

  const UNTRUSTED =
    'the certificate of the server is of no authority that is trusted here: name it with tls-ca-cert-path'
  const LEFT = 'the client hung up during the handshake; it may not trust our certificate'
  const REFUSED = 'the server hung up during the TLS handshake: it may not accept our client certificate'
  test.each<[string, Setup, code: string, client: string, server: string]>([
    ['wrong authority', { ca: 'other' }, 'denied', UNTRUSTED, LEFT],
    [
      'expired certificate',
      { server: 'expired' },
      'denied',
      'the certificate of the server has expired',
      LEFT,
    ],
    [
      'wrong name',
      { server: 'elsewhere' },
      'denied',
      'the certificate of the server is for another name',
      LEFT,
    ],
    [
      'missing client certificate',
      { clientCa: 'ours' },
      'denied',
      'the server wants a client certificate: give tls-client-cert-path and tls-client-key-path',
      'the client showed no certificate',
    ],
    [
      "a stranger's client certificate",
      { clientCa: 'ours', client: 'stranger' },
      'unavailable',
      REFUSED,
      "the client's certificate is not valid: UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    ],
    [
      'expired client certificate',
      { clientCa: 'ours', client: 'expiredClient' },
      'unavailable',
      REFUSED,
      "the client's certificate is not valid: CERT_HAS_EXPIRED",
    ],
    [
      'no TLS',
      { scheme: 'grpc+http' },
      'unavailable',
      'the server hung up at once: it may want TLS, which is grpc+https',
      'the client speaks no TLS',
    ],
  ])('%s: one error here, one line there', async (_, setup, code, client, reason) => {
    const { failure, eager, address, lines } = await ask(setup)
    expect(failure).toBeInstanceOf(StoreError)
    expect(failure).toMatchObject({ code, message: expect.stringMatching(/^[^\n]*$/) })
    expect((failure as StoreError).message).toContain(client)
    expect((failure as StoreError).message).toContain(address)
    expect(eager).toMatchObject({ code })
    expect(lines).toEqual([
      { listener: '127.0.0.1:0', peer: '127.0.0.1', reason, msg: 'a TLS handshake failed' },
    ])
  })

  /** Node's clients send no alert; those of OpenSSL, rustls and Go do, as they are asked to here. */
  test.each([
    [
      ['-verify_hostname', 'elsewhere.example'],
      'the client does not accept our certificate, or the name in it',
    ],
    [['-attime', '4102444800'], 'the client says that our certificate has expired'],
  ])('a client that says why it leaves: %s', async (flags, reason) => {
    const { logger, lines } = recordingLogger()
    const { cert, key } = files['server']!
    const server = createGrpcServer({
      ...memoryParts(),
      logger,
      tls: loadServerTls({ cert, key, clientCa: undefined }),
    })
    const bound = await server.listen('127.0.0.1:0')
    const verify = ['-verify_return_error', '-CAfile', files['ours']!.cert]
    const { code } = await run('openssl', ['s_client', '-connect', bound, ...verify, ...flags])
    expect(code).toBe(1)
    await until(() => lines.length > 0)
    expect(lines[0]).toMatchObject({ reason, msg: 'a TLS handshake failed' })
    await server.shutdown(0)
  })

  test('a server without TLS', async () => {
    const server = createGrpcServer(memoryParts())
    const bound = await server.listen('127.0.0.1:0')
    const channel = await openGrpcChannel(`grpc+https://${bound}?tls-ca-cert-path=${files['ours']!.cert}`)
    const failure = await grpcBlobService(channel)
      .has(DIGEST)
      .catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'denied' })
    expect((failure as Error).message).toContain('the server speaks no TLS: use grpc+http')
    channel.close()
    await server.shutdown(0)
  })

  test('a unix socket of the same server stays in the clear', async () => {
    const { cert, key } = files['server']!
    const tls = loadServerTls({ cert, key, clientCa: files['ours']!.cert })
    const server = createGrpcServer({ ...memoryParts(), tls })
    await server.listen('127.0.0.1:0')
    const channel = await openGrpcChannel(`grpc+unix:${await server.listen(`${folder}/socket`)}`)
    expect(await grpcBlobService(channel).has(DIGEST)).toBe(false)
    channel.close()
    await server.shutdown(0)
  })

  test.each([
    ['TLSv1.1', 'TLSv1.1', ['h2'], undefined],
    ['TLSv1.2', 'TLSv1.2', ['h2'], 'h2'],
    ['HTTP/1.1', 'TLSv1.3', ['http/1.1'], undefined],
  ] as const)('%s', async (_, version, ALPNProtocols, protocol) => {
    const { cert, key } = files['server']!
    const tls = loadServerTls({ cert, key, clientCa: undefined })
    const server = createGrpcServer({ ...memoryParts(), tls })
    const port = Number((await server.listen('127.0.0.1:0')).split(':').at(-1))
    const versions = { minVersion: version, maxVersion: version } as const
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols,
      ...versions,
    } as never)
    expect(await protocolOf(socket)).toBe(protocol)
    socket.destroy()
    await server.shutdown(0)
  })

  test('a blob goes up and comes down through it', async () => {
    const { cert, key } = files['server']!
    const tls = loadServerTls({ cert, key, clientCa: files['ours']!.cert })
    const server = createGrpcServer({ ...memoryParts(), tls })
    const bound = await server.listen('127.0.0.1:0')
    const client = `tls-client-cert-path=${files['client']!.cert}&tls-client-key-path=${files['client']!.key}`
    const address = `grpc+https://${bound}?tls-ca-cert-path=${files['ours']!.cert}&${client}`
    const channel = await openGrpcChannel(address)
    const blobs = grpcBlobService(channel)
    const contents = new Uint8Array(20 * 1024 * 1024).fill(7)
    const writer = await blobs.openWrite()
    await writer.write(contents)
    const digest = await writer.close()
    const pieces: Uint8Array[] = []
    for await (const piece of (await blobs.openRead(digest))!) pieces.push(piece)
    expect(Buffer.concat(pieces).equals(contents)).toBe(true)
    channel.close()
    await server.shutdown(0)
  })

  describe('files that do not do', () => {
    test.each([
      ['missing', '/nonexistent.pem', 'not-found', /cannot read \/nonexistent\.pem/],
      ['no PEM', `${folder}/nonsense`, 'invalid-argument', /cannot use .*nonsense.* for TLS/],
    ])('%s', async (_, path, code, why) => {
      writeFileSync(`${folder}/nonsense`, 'nonsense')
      const { key } = files['server']!
      expect(() => loadServerTls({ cert: path, key, clientCa: undefined })).toThrow(why)
      const client = `tls-client-cert-path=${path}&tls-client-key-path=${key}`
      const failure = await openGrpcChannel(`grpc+https://h?${client}`).catch((error: unknown) => error)
      expect(failure).toMatchObject({ code })
      expect((failure as Error).message).toMatch(why)
    })

    test('a key that belongs to another certificate', () => {
      const { cert } = files['server']!
      const { key } = files['client']!
      expect(() => loadServerTls({ cert, key, clientCa: undefined })).toThrow(
        /cannot use .*key values mismatch/,
      )
    })
  })
})

/** The protocol that was agreed on; `undefined` if the connection did not come about. */
function protocolOf(socket: TLSSocket): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  socket.once('secureConnect', () => resolve(socket.alpnProtocol || undefined))
  socket.once('error', () => resolve(undefined))
  return promise
}
