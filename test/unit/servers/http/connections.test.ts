/** What holds for every request, in both versions of HTTP: limits, permissions, failures in the middle, the end. */
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, test } from 'vitest'
import { Directory } from '../../../../src/model/castore/directory.ts'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { encodeNixbase32 } from '../../../../src/model/nix/nixbase32.ts'
import { narUrl } from '../../../../src/servers/http/nar-url.ts'
import type { HttpServerParts } from '../../../../src/servers/http/server.ts'
import { loadServerTls } from '../../../../src/servers/listen/tls.ts'
import { loadTokens } from '../../../../src/servers/listen/tokens.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import {
  HTTP_HEADER_BYTES_MAX,
  HTTP_UPLOADS_MAX,
  HTTP_URL_CHARACTERS_MAX,
  NAR_ROOM_BYTES,
} from '../../../../src/support/limits.ts'
import { localNarCalculation } from '../../../../src/transfer/nar-calculation.ts'
import { renderNar } from '../../../../src/transfer/render-nar.ts'
import { makeNar } from '../../../support/binary-cache.ts'
import { createAuthority, createCertificate, HAS_OPENSSL } from '../../../support/certificates.ts'
import { until } from '../../../support/cli.ts'
import { collect } from '../../../support/collect.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { recordingLogger } from '../../../support/recording-logger.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import {
  type Answer,
  send,
  sendHttp2,
  startTestBridge,
  type TestBridge,
} from '../../../support/test-bridge.ts'

let stack = new AsyncDisposableStack()
afterEach(async () => {
  await stack.disposeAsync()
  stack = new AsyncDisposableStack()
})

async function started(...args: Parameters<typeof startTestBridge>): Promise<TestBridge> {
  return stack.use(await startTestBridge(...args))
}

const VERSIONS = [
  ['HTTP/1.1', send],
  ['HTTP/2', sendHttp2],
] as const

/** Everything that comes back over a connection on which this was written. */
async function raw(address: string, ...pieces: string[]): Promise<string> {
  const socket = open(address)
  for (const piece of pieces) {
    socket.write(piece)
    await new Promise(setImmediate)
  }
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  socket.on('error', () => {})
  await once(socket, 'close')
  return text
}

function open(address: string): Socket {
  const [host, port] = address.split(':')
  return connect({ host: host!, port: Number(port) })
}

test('two Host headers are refused: whoever stands in front may read the other one', async () => {
  const { address } = await started()
  const get = (...lines: string[]) =>
    raw(address, ['GET /nix-cache-info HTTP/1.1', ...lines, 'Connection: close', '', ''].join('\r\n'))
  expect(await get('Host: a')).toMatch(/^HTTP\/1.1 200 /)
  expect(await get('Host: a', 'HOST: b')).toMatch(/^HTTP\/1.1 400 [\s\S]*more than one Host/)
})

describe.each(VERSIONS)('%s', (_, ask) => {
  test('NARs that several read at once are whole, though memory is used again behind each', async () => {
    const bridge = await started()
    const { blobs, directories } = bridge.parts
    const entries = []
    for (let i = 10; i < 34; i++) {
      const writer = blobs.openWrite()
      await writer.write(pseudoRandom(NAR_ROOM_BYTES / 4 + 1_000 * i, i))
      const [digest, size] = [await writer.close(), BigInt(NAR_ROOM_BYTES / 4 + 1_000 * i)]
      const node = { kind: 'file', digest, size, executable: false } as const
      entries.push({ name: pathComponent(Buffer.from(`f${i}`)), node })
    }
    const root = Directory.from(entries)
    await directories.put(root)
    const node = { kind: 'directory', digest: root.digest, size: root.size('rust') } as const
    const nar = Buffer.concat(await collect(renderNar({ blobs, directories }, node)))
    const url = `${bridge.url}/${narUrl(node, BigInt(nar.length))}`
    const answers = await Promise.all([1, 2, 3, 4].map(() => ask(url, 'GET')))
    expect(answers.map(({ isTorn, body }) => [isTorn, body.equals(nar)])).toEqual(
      Array(4).fill([false, true]),
    )
  })

  test('GET, HEAD and a body', async () => {
    const bridge = await started()
    const { nar } = await makeNar('versions')
    const node = await bridge.ingest(nar)
    const answer = await ask(`${bridge.url}/${narUrl(node, BigInt(nar.length))}`, 'GET')
    expect([answer.status, answer.isTorn, answer.body.equals(nar)]).toEqual([200, false, true])
    const head = await ask(`${bridge.url}/nix-cache-info`, 'HEAD')
    expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, '51', 0])
    const put = await ask(`${bridge.url}/${'0'.repeat(32)}.ls`, 'PUT', { body: 'x'.repeat(100_000) })
    expect(put.status).toBe(200)
  })

  test('a URL as long as it may be, and a character longer', async () => {
    const bridge = await started()
    const at = (length: number) => ask(`${bridge.url}/${'x'.repeat(length - 1)}`, 'GET')
    expect((await at(HTTP_URL_CHARACTERS_MAX)).status).toBe(404)
    expect((await at(HTTP_URL_CHARACTERS_MAX + 1)).status).toBe(414)
  })

  test('headers up to their limit, and beyond', async () => {
    const bridge = await started()
    const headers = (length: number) => ({ headers: { 'x-large': 'x'.repeat(length) } })
    const url = `${bridge.url}/nix-cache-info`
    expect((await ask(url, 'GET', headers(HTTP_HEADER_BYTES_MAX - 512))).status).toBe(200)
    expect((await ask(url, 'GET', headers(HTTP_HEADER_BYTES_MAX))).status).toBe(431)
  })

  describe('a blob that is missing', () => {
    /** `missing`: whether the digest is that of the large file, which comes last. */
    async function broken(
      fault: 'absent' | 'breaks',
    ): Promise<{ answer: (more?: object) => Promise<Answer>; size: number }> {
      const blobs = memoryBlobService()
      let large: string | undefined
      const failing: BlobService = {
        has: (digest) => blobs.has(digest),
        chunks: (digest) => blobs.chunks(digest),
        openWrite: (call) => blobs.openWrite(call),
        async openRead(digest) {
          if (digest.hex !== large) return blobs.openRead(digest)
          if (fault === 'absent') return undefined
          const stream = (await blobs.openRead(digest))!
          return (async function* () {
            for await (const piece of stream) {
              yield piece.subarray(0, piece.length >> 1)
              throw new StoreError('unavailable', 'the disk of /var/lib/secret is gone')
            }
          })()
        },
      }
      const { logger, lines } = recordingLogger()
      const bridge = await started({ blobs: failing, logger })
      const { nar, node } = await makeLargeNar(bridge)
      large = node.large
      const url = `${bridge.url}/${narUrl(node.root, BigInt(nar))}`
      return {
        size: nar,
        answer: async (more = {}) => {
          const answer = await ask(url, 'GET', more)
          expect(lines.length).toBeGreaterThan(0)
          return answer
        },
      }
    }

    test.each(['identity', 'zstd', 'gzip'])(
      'tears the connection down in the middle (%s)',
      async (coding) => {
        for (const fault of ['absent', 'breaks'] as const) {
          const { answer, size } = await broken(fault)
          const { status, isTorn, body } = await answer({ headers: { 'accept-encoding': coding } })
          expect([status, isTorn]).toEqual([200, true])
          expect(body.length).toBeLessThan(size)
        }
      },
    )

    test('before the first byte it is an answer', async () => {
      const { answer, size } = await broken('absent')
      const from = size - 1_000_000
      const part = await answer({ headers: { range: `bytes=${from}-` } })
      expect(part.status).toBe(502)
      expect(part.body.toString()).not.toContain('secret')
    })
  })

  test('only whoever has a token, or the password that it is', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'tokens')
    writeFileSync(file, 'read:reader\nput:writer\n')
    const bridge = await started({}, { tokens: loadTokens(file) })
    const statuses = async (authorization?: string) => {
      const headers = authorization === undefined ? {} : { authorization }
      const get = await ask(`${bridge.url}/nix-cache-info`, 'GET', { headers })
      const put = await ask(`${bridge.url}/${'0'.repeat(32)}.ls`, 'PUT', { headers, body: 'x' })
      if (get.status === 401) expect(get.headers['www-authenticate']).toMatch(/Basic.*Bearer/)
      return [get.status, put.status]
    }
    const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`
    expect(await statuses()).toEqual([401, 401])
    expect(await statuses('Bearer nobody')).toEqual([401, 401])
    expect(await statuses('Bearer reader')).toEqual([200, 403])
    expect(await statuses('Bearer writer')).toEqual([200, 200])
    expect(await statuses(basic('anybody:writer'))).toEqual([200, 200])
    expect(await statuses(basic('writer:'))).toEqual([401, 401])
    expect(await statuses('Digest writer')).toEqual([401, 401])
  })

  test('reading for everybody, uploads with a token; a listener that is read-only', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'tokens')
    writeFileSync(file, 'put:writer\n')
    const options: Partial<HttpServerParts> = { tokens: loadTokens(file), anonymousRead: true }
    const bridge = await started({}, options)
    const put = (url: string, headers = {}) =>
      ask(`${url}/${'0'.repeat(32)}.ls`, 'PUT', { headers, body: 'x' }).then(({ status }) => status)
    expect((await ask(`${bridge.url}/nix-cache-info`, 'GET')).status).toBe(200)
    expect(await put(bridge.url)).toBe(401)
    expect(await put(bridge.url, { authorization: 'Bearer writer' })).toBe(200)
    const closed = await started({}, options, '?role=read-only')
    expect(await put(closed.url, { authorization: 'Bearer writer' })).toBe(403)
    expect((await ask(`${closed.url}/nix-cache-info`, 'GET')).status).toBe(200)
  })
})

/** A NAR of a megabyte and more of small files, and then a large one. */
async function makeLargeNar(bridge: TestBridge) {
  const store = async (bytes: Uint8Array) => {
    const writer = bridge.parts.blobs.openWrite()
    await writer.write(bytes)
    return { digest: await writer.close(), size: BigInt(bytes.length) }
  }
  // Nothing that a content coding could make small enough to be all there before the first byte goes out.
  const small = await store(randomBytes(500_000))
  const large = await store(randomBytes(3_000_000))
  const file = (name: string, { digest, size }: typeof small) => ({
    name: pathComponent(Buffer.from(name)),
    node: { kind: 'file' as const, digest, size, executable: false },
  })
  const names = ['a', 'b', 'c', 'd', 'e', 'f']
  const directory = Directory.from([...names.map((name) => file(name, small)), file('z', large)])
  const digest = await bridge.parts.directories.put(directory)
  const root = { kind: 'directory' as const, digest, size: directory.size('rust') }
  const { narSize } = await localNarCalculation(bridge.parts).calculateNar(root)
  return { nar: Number(narSize), node: { root, large: large.digest.hex } }
}

test.runIf(HAS_OPENSSL)('TLS: both versions by what the client prefers', async () => {
  await using dir = await tempDir()
  const authority = createAuthority(dir.path, 'authority')
  const own = createCertificate(dir.path, 'own', { signer: authority, names: 'IP:127.0.0.1' })
  const tls = loadServerTls({ ...own, clientCa: undefined })
  const bridge = await started({}, { tls })
  const ca = readFileSync(authority.cert)
  for (const ALPNProtocols of [['h2', 'http/1.1'], ['http/1.1'], undefined]) {
    const [host, port] = bridge.address.split(':')
    const socket = connectTls({
      host: host!,
      port: Number(port),
      ca,
      ...(ALPNProtocols && { ALPNProtocols }),
    })
    await once(socket, 'secureConnect')
    const isHttp2 = ALPNProtocols?.[0] === 'h2'
    expect(socket.alpnProtocol || 'http/1.1').toBe(ALPNProtocols?.[0] ?? 'http/1.1')
    if (isHttp2) {
      const session = connectHttp2(`https://${bridge.address}`, { createConnection: () => socket })
      const [headers] = await once(session.request({ ':path': '/nix-cache-info' }), 'response')
      expect(headers[':status']).toBe(200)
      session.close()
    } else {
      socket.write('GET /nix-cache-info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
      const [bytes] = await once(socket, 'data')
      expect(bytes.toString()).toMatch(/^HTTP\/1\.1 200/)
      socket.destroy()
    }
  }
})

test('a preface in pieces is HTTP/2 all the same; nonsense gets 400; silence is nobody', async () => {
  const bridge = await started()
  expect(await raw(bridge.address, 'nonsense\r\n\r\n')).toMatch(/^HTTP\/1\.1 400/)
  const pieces = ['PR', 'I * HTTP/2.0\r\n', '\r\nSM\r\n\r', '\n', 'these are no frames at all']
  // Answered with SETTINGS, the frame type 4, and not with HTTP/1.1.
  expect((await raw(bridge.address, ...pieces)).charCodeAt(3)).toBe(4)
  expect(await raw(bridge.address, 'PROPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')).toMatch(
    / 405 /,
  )
  expect(
    await raw(bridge.address, 'GET http://x/nix-cache-info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'),
  ).toMatch(/ 200 /)
})

test('an upload that breaks off is none', async () => {
  const bridge = await started()
  const { nar } = await makeNar('cut')
  const name = `/nar/${encodeNixbase32(createHash('sha256').update(nar).digest())}.nar`
  const socket = open(bridge.address)
  socket.on('error', () => {})
  socket.write(`PUT ${name} HTTP/1.1\r\nhost: x\r\ncontent-length: ${nar.length}\r\n\r\n`)
  socket.write(nar.subarray(0, nar.length - 1))
  await once(socket.end().resume(), 'close')
  expect((await bridge.send('HEAD', name)).status).toBe(404)
})

test('a client that waits for 100 Continue is refused without its body, or asked for it', async () => {
  const bridge = await started()
  const head = (path: string) =>
    `PUT ${path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\nconnection: close\r\n\r\n`
  expect(await raw(bridge.address, head('/nar/nonsense'))).toMatch(/^HTTP\/1\.1 400/)
  expect(await raw(bridge.address, head(`/${'0'.repeat(32)}.ls`), 'hello')).toMatch(
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200/,
  )
})

test('as many uploads at once as there may be, and one more', async () => {
  const bridge = await started()
  const head = `PUT /nar/${'0'.repeat(52)}.nar HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n`
  const sockets = Array.from({ length: HTTP_UPLOADS_MAX }, () => open(bridge.address))
  for (const socket of sockets) socket.on('error', () => {}).write(head)
  const running = () => bridge.server.metrics.map((metric) => metric.render()).join('')
  await until(() => running().includes(`tvix_store_http_open_requests ${HTTP_UPLOADS_MAX}\n`))
  const refused = await bridge.send('PUT', `/nar/${'0'.repeat(52)}.nar`, { body: 'x' })
  expect([refused.status, refused.headers['retry-after']]).toEqual([503, '1'])
  for (const socket of sockets) socket.destroy()
  await until(() => running().includes('tvix_store_http_open_requests 0\n'))
  expect((await bridge.send('PUT', `/nar/${'0'.repeat(52)}.nar`, { body: 'x' })).status).toBe(400)
})

test('a body that is too large is refused by its announcement, and the client gets to read why', async () => {
  const bridge = await started()
  const head = `PUT /${'0'.repeat(32)}.narinfo HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n`
  const text = await raw(bridge.address, head, 'x'.repeat(2_000_000))
  expect(text).toMatch(/^HTTP\/1\.1 413/)
  expect(text).toMatch(/connection: close/)
  expect(text).toMatch(/more than \d+ bytes\n$/)
})

test('a client that leaves ends the work that is done for it', async () => {
  const blobs = memoryBlobService()
  const seen = Promise.withResolvers<AbortSignal | undefined>()
  const hanging: BlobService = {
    has: (digest) => blobs.has(digest),
    chunks: (digest) => blobs.chunks(digest),
    openWrite: (call) => blobs.openWrite(call),
    openRead: async (_, call) => {
      seen.resolve(call?.signal)
      const { promise, reject } = Promise.withResolvers<undefined>()
      call?.signal?.addEventListener('abort', () => reject(StoreError.from(call.signal!.reason)))
      return promise
    },
  }
  const bridge = await started({ blobs: hanging })
  const { nar } = await makeNar('leaving')
  const node = await bridge.ingest(nar)
  const socket = open(bridge.address)
  socket.write(`GET /${narUrl(node, BigInt(nar.length))} HTTP/1.1\r\nhost: x\r\n\r\n`)
  const signal = (await seen.promise)!
  const aborted = once(signal, 'abort')
  socket.destroy()
  await aborted
  expect(signal.aborted).toBe(true)
})

test('shutdown: what runs is finished, and then nothing is open any more', async () => {
  const gate = Promise.withResolvers<void>()
  const blobs = memoryBlobService()
  const asked = Promise.withResolvers<void>()
  const waiting: BlobService = {
    has: (digest) => blobs.has(digest),
    chunks: (digest) => blobs.chunks(digest),
    openWrite: (call) => blobs.openWrite(call),
    openRead: async (digest) => {
      asked.resolve()
      await gate.promise
      return blobs.openRead(digest)
    },
  }
  const bridge = await startTestBridge({ blobs: waiting })
  const { nar } = await makeNar('draining')
  const node = await bridge.ingest(nar)
  const idle = open(bridge.address)
  await once(idle, 'connect')
  const session = connectHttp2(bridge.url)
  await once(session, 'remoteSettings')
  const answer = bridge.send('GET', `/${narUrl(node, BigInt(nar.length))}`)
  await asked.promise
  const closed = Promise.all([once(idle, 'close'), once(session, 'close')])
  const over = bridge.server.shutdown(10_000)
  gate.resolve()
  expect((await answer).body.equals(nar)).toBe(true)
  idle.resume()
  await over
  await closed
  await expect(bridge.send('GET', '/')).rejects.toThrow()
})

test('metrics: what was asked, with what result, and what tore', async () => {
  const bridge = await started()
  await bridge.send('GET', '/nix-cache-info')
  await bridge.send('BREW', '/nix-cache-info').catch(() => {})
  const text = bridge.server.metrics.map((metric) => metric.render()).join('')
  expect(text).toMatch(/tvix_store_http_requests_total\{method="GET",status="200"\} 1/)
  expect(text).toMatch(/tvix_store_http_open_requests 0/)
  expect(text).not.toContain('BREW')
})
