import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import * as undici from 'undici'
import { describe, expect, it, vi } from 'vitest'
import { HttpGets } from '../../../src/services/http-gets.ts'
import { BufferRooms } from '../../../src/support/buffer-rooms.ts'
import { StoreError } from '../../../src/support/errors.ts'
import {
  HTTP_BODY_AT_ONCE_BYTES_MAX,
  HTTP_HEADER_BYTES_MAX,
  HTTP_SILENCE_BYTES,
  HTTP_SILENCE_MS_MAX,
} from '../../../src/support/limits.ts'
import { createAuthority, createCertificate, HAS_OPENSSL } from '../../support/certificates.ts'
import { type Answer, startHttpServer } from '../../support/http-server.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'
import { tempDir } from '../../support/temp-dir.ts'

const MiB = 1024 * 1024

interface Options {
  readonly bytesMax?: number
  readonly rooms?: BufferRooms
  readonly signal?: AbortSignal
  readonly headers?: Record<string, string>
}

function getter(gets: HttpGets) {
  return async (path = '/x', { bytesMax = 64 * MiB, rooms, signal, headers = {} }: Options = {}) => {
    const request = { signal: signal ?? new AbortController().signal, progress: () => {} }
    const { status, bytes } = await gets.get({ path, headers, bytesMax, rooms }, request)
    return { status, bytes, text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString() }
  }
}

async function serving(answer: Answer) {
  const sockets = new Set<Socket>()
  const server = await startHttpServer((response, request) => {
    sockets.add(request.socket)
    return answer(response, request)
  })
  const gets = new HttpGets(server.url, undici)
  return {
    requests: server.requests,
    sockets,
    get: getter(gets),
    async [Symbol.asyncDispose]() {
      gets[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** A server that says these very words to whatever it is asked, once for each connection or each request. */
async function saying(text: string, andThen: (socket: Socket) => void = () => {}) {
  let connections = 0
  const server = createServer((socket) => {
    connections++
    socket.on('error', () => {})
    socket.on('data', () => socket.write(text, 'latin1', () => andThen(socket)))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const gets = new HttpGets(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), undici)
  return {
    get: getter(gets),
    get connections() {
      return connections
    },
    async [Symbol.asyncDispose]() {
      gets[Symbol.dispose]()
      server.close()
      await once(server, 'close')
    },
  }
}

const CHUNKED = 'transfer-encoding: chunked\r\n\r\n'

const end = (socket: Socket) => socket.end()

describe('what comes', () => {
  it.each([0, 1, 4_095, 100_000, 3 * MiB, HTTP_BODY_AT_ONCE_BYTES_MAX + 5 * MiB])(
    'a body of %i bytes',
    async (size) => {
      const body = pseudoRandom(size, 1)
      await using server = await serving((response) =>
        response.writeHead(200, { 'content-length': String(size) }).end(body),
      )
      for (let i = 0; i < 4; i++) {
        const { status, bytes } = await server.get()
        expect(status).toBe(200)
        expect(Buffer.compare(bytes, body)).toBe(0)
      }
      expect(server.sockets.size).toBeLessThanOrEqual(2)
    },
  )

  it.each([0, 1, 70_000])('%i bytes in chunks', async (size) => {
    const body = pseudoRandom(size, 2)
    await using server = await serving((response) => {
      response.writeHead(404).flushHeaders()
      for (let at = 0; at < size; at += 9_999) response.write(body.subarray(at, at + 9_999))
      response.addTrailers({ 'x-sum': '1' })
      response.end()
    })
    for (let i = 0; i < 4; i++) {
      const { status, bytes } = await server.get()
      expect(status).toBe(404)
      expect(Buffer.compare(bytes, body)).toBe(0)
    }
    expect(server.sockets.size).toBeLessThanOrEqual(2)
  })

  it('what ends with the connection', async () => {
    await using server = await saying('HTTP/1.1 200 OK\r\n\r\nto the end', end)
    expect((await server.get()).text).toBe('to the end')
    expect((await server.get()).text).toBe('to the end')
    expect(server.connections).toBe(2)
  })

  it('the answer, and not what is said before it', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n'
    await using server = await saying(`${early}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi`)
    expect((await server.get()).text).toBe('hi')
  })

  it.each([204, 304])('no body with %i', async (status) => {
    await using server = await serving((response) => response.writeHead(status).end())
    expect(await server.get()).toMatchObject({ status, text: '' })
  })
})

describe('what is no HTTP is corrupt', () => {
  it.each([
    ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    ['HTTP/2', 'HTTP/2 200\r\ncontent-length: 0\r\n\r\n'],
    ['a header over two lines', 'HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n'],
    ['a header without a name', 'HTTP/1.1 200 OK\r\n: b\r\ncontent-length: 0\r\n\r\n'],
    ['a blank before the colon', 'HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n'],
    ['a size below nothing', 'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n'],
    ['a chunk without a size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n'],
    ['a chunk with a size below nothing', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n'],
    ['a chunk that is longer', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n'],
    ['lines that end in another way', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\nx\r\n'],
    ['headers without end', `HTTP/1.1 200 OK\r\na: ${'b'.repeat(HTTP_HEADER_BYTES_MAX)}`],
  ])('%s', async (_, text) => {
    await using server = await saying(text, end)
    await expect(server.get()).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/x: the answer is not HTTP/),
    })
  })

  it.each([
    ['two sizes', 'content-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    ['a size and chunks', 'content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
  ])('nothing comes of %s', async (_, rest) => {
    await using server = await saying(`HTTP/1.1 200 OK\r\n${rest}`, end)
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
  })

  it.each([
    ['says so', 'content-length: 11\r\n\r\n'],
    ['does not say so', '\r\nhello world'],
    ['comes in chunks', 'transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n'],
  ])('a body that is too long and %s', async (_, rest) => {
    await using server = await saying(`HTTP/1.1 200 OK\r\n${rest}`, end)
    await expect(server.get('/x', { bytesMax: 10 })).rejects.toMatchObject({ code: 'corrupt' })
  })
})

describe('connections', () => {
  it('about as many as requests at the same time, and used again', async () => {
    await using server = await serving((response) => setImmediate(() => response.end('x')))
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 7 }, () => server.get()))
    // A connection is not used in the turn in which its answer ended.
    expect(server.sockets.size).toBeLessThanOrEqual(14)
    expect(server.requests).toHaveLength(35)
  })

  it('that the server closes are not used again', async () => {
    await using server = await serving((response) =>
      response.writeHead(200, { connection: 'close' }).end('x'),
    )
    for (let i = 0; i < 3; i++) expect((await server.get()).text).toBe('x')
    expect(server.sockets.size).toBe(3)
  })

  it('that ended just when they were to be used again are replaced, without a word', async () => {
    let asked = 0
    await using server = await serving((response, request) => {
      // The second request of a connection finds it gone.
      if (++asked === 2) return request.socket.resetAndDestroy()
      return response.end(`answer ${asked}`)
    })
    expect((await server.get()).text).toBe('answer 1')
    expect((await server.get()).text).toBe('answer 3')
    expect(server.sockets.size).toBe(2)
  })

  it('(negative control) but the second one that ends is an error', async () => {
    await using server = await serving((_, request) => request.socket.resetAndDestroy())
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
    expect(server.requests).toHaveLength(2)
  })

  it('on which more came than was asked for are not used again', async () => {
    await using server = await saying('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhiHTTP/1.1 404 No\r\n\r\n')
    for (let i = 0; i < 3; i++) expect(await server.get()).toMatchObject({ status: 200, text: 'hi' })
    expect(server.connections).toBe(3)
  })

  it.each([
    ['in the middle of the headers', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['in the middle of the body', 'HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf'],
    [
      'in the middle of the last body',
      'HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 50\r\n\r\nhalf',
    ],
    ['in the middle of the last chunks', `HTTP/1.1 200 OK\r\nconnection: close\r\n${CHUNKED}4\r\nhalf\r\n`],
    ['between chunks', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n'],
    ['without a word', ''],
  ])('that break %s are unavailable', async (_, text) => {
    await using server = await saying(text || '\r', end)
    const outcome = await server.get().catch((error: unknown) => error)
    expect(outcome).toBeInstanceOf(StoreError)
    expect(['unavailable', 'corrupt']).toContain((outcome as StoreError).code)
    expect((outcome as StoreError).code).toBe('unavailable')
  })

  it('to nobody are unavailable', async () => {
    const server = await saying('')
    await server[Symbol.asyncDispose]()
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('are gone when the reader leaves', async () => {
    const closed = Promise.withResolvers<void>()
    await using server = await serving((response, request) => {
      request.socket.once('close', () => closed.resolve())
      response.writeHead(200, { 'content-length': '100' }).write('half', () => controller.abort())
    })
    const controller = new AbortController()
    await expect(server.get('/x', { signal: controller.signal })).rejects.toMatchObject({ code: 'cancelled' })
    await closed.promise
    await expect(server.get('/x', { signal: controller.signal })).rejects.toMatchObject({ code: 'cancelled' })
    expect(server.requests).toHaveLength(1)
  })
})

it('waits no longer for a connection when the reader leaves', async () => {
  await using server = await serving((response) => response.end('x'))
  const controller = new AbortController()
  const waiting = server.get('/x', { signal: controller.signal })
  controller.abort()
  await expect(waiting).rejects.toMatchObject({ code: 'cancelled' })
  expect(server.requests).toEqual([])
  expect((await server.get('/y')).text).toBe('x')
  expect(server.requests).toEqual(['GET /y'])
})

it.each([
  ['drips', 1, 'deadline'],
  ['(negative control) does not', HTTP_SILENCE_BYTES, undefined],
])('gives up a server that %s', async (_, size, code) => {
  const half = Promise.withResolvers<void>()
  await using server = await startHttpServer(async (response) => {
    response.writeHead(200, { 'content-length': String(2 * size) }).write('x'.repeat(size))
    await half.promise
    response.end('x'.repeat(size))
  })
  const now = performance.now.bind(performance)
  let later = 0
  let came = 0
  const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + later)
  try {
    using gets = new HttpGets(server.url, undici)
    const progress = () => {
      // The head is the first.
      if (++came !== 2) return
      setImmediate(() => {
        later = HTTP_SILENCE_MS_MAX + 1
        half.resolve()
      })
    }
    const request = { signal: new AbortController().signal, progress }
    const got = gets.get({ path: '/x', headers: {}, bytesMax: MiB }, request)
    if (code) await expect(got).rejects.toMatchObject({ code })
    else expect((await got).bytes.length).toBe(2 * size)
  } finally {
    clock.mockRestore()
  }
})

it('puts bodies into rooms, and gives back those that nobody gets', async () => {
  const rooms = new BufferRooms({ bytes: 1_000, busyMax: 4, idleMax: 4 })
  await using server = await serving((response, { url }) => {
    response.writeHead(200, { 'content-length': '600' })
    return url === '/cut' ? response.write('half', () => response.destroy()) : response.end('x'.repeat(600))
  })
  const first = await server.get('/x', { rooms })
  expect(rooms.free).toBe(0)
  rooms.giveBack(first.bytes)
  expect(rooms.free).toBe(1)
  await expect(server.get('/cut', { rooms })).rejects.toThrow(StoreError)
  expect(rooms.free).toBe(1)
  expect((await server.get('/x', { rooms })).text).toBe('x'.repeat(600))
  expect(rooms.free).toBe(0)
})

it.each([{ 'x-a': 'b\r\nx-c: d' }, { 'x-a': 'b\nc' }, { 'x-a': 'ß\u0100' }, { 'x-a': '\0' }])(
  'sends no header of its own making: %j',
  async (headers) => {
    await using server = await serving((response) => response.end())
    await expect(server.get('/x', { headers })).rejects.toMatchObject({ code: 'invalid-argument' })
    for (const path of ['/a b', '/a\r\nb'])
      await expect(server.get(path)).rejects.toMatchObject({ code: 'invalid-argument' })
    expect(server.requests).toEqual([])
  },
)

it.skipIf(!HAS_OPENSSL)('speaks TLS with whom somebody vouches for, also over kept connections', async () => {
  await using dir = await tempDir()
  const authority = createAuthority(dir.path, 'authority')
  const own = createCertificate(dir.path, 'server', { signer: authority, names: 'IP:127.0.0.1' })
  const [key, cert, ca] = [own.key, own.cert, authority.cert].map((path) => readFileSync(path, 'utf8'))
  const body = pseudoRandom(700_000, 3)
  const sockets = new Set<unknown>()
  await using server = await startHttpServer(
    (response, { socket }) => {
      sockets.add(socket)
      response.writeHead(200, { 'content-length': String(body.length) }).end(body)
    },
    { key: key!, cert: cert! },
  )
  const trusted = getCACertificates('default')
  setDefaultCACertificates([ca!])
  try {
    using gets = new HttpGets(server.url, undici)
    const get = getter(gets)
    for (let i = 0; i < 3; i++) {
      const both = await Promise.all([get(), get()])
      for (const { bytes } of both) expect(Buffer.compare(bytes, body)).toBe(0)
    }
    expect(sockets.size).toBeLessThan(6)
  } finally {
    setDefaultCACertificates(trusted)
  }
  using gets = new HttpGets(server.url, undici)
  await expect(getter(gets)()).rejects.toMatchObject({ code: 'unavailable' })
})
