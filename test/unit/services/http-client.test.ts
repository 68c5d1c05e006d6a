import { describe, expect, it } from 'vitest'
import { type HttpClient, httpClient } from '../../../src/services/http-client.ts'
import type { HttpPolicy } from '../../../src/services/http-policy.ts'
import { view } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { HTTP_REDIRECTS_MAX, HTTP_URL_CHARACTERS_MAX } from '../../../src/support/limits.ts'
import { type Answer, startHttpServer } from '../../support/http-server.ts'

const QUICK: Partial<HttpPolicy> = { retryMs: [1, 1, 1] }
const IMPATIENT: Partial<HttpPolicy> = { ...QUICK, answerMsMax: 50, silenceMsMax: 50 }

async function serving(answer: Answer, policy: Partial<HttpPolicy> = QUICK) {
  const server = await startHttpServer(answer)
  const client = httpClient(policy)
  return {
    ...server,
    client,
    get: (path = 'x', signal?: AbortSignal) => textOf(client, new URL(path, server.url), signal),
    async [Symbol.asyncDispose]() {
      client[Symbol.dispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function textOf(client: HttpClient, url: URL, signal?: AbortSignal) {
  const { status, body } = await client.request(url, { signal })
  return { status, text: view(await body.bytes(1_000_000)).toString() }
}

describe('HTTP client', () => {
  it('hands out status and body', async () => {
    await using server = await serving((response) => response.writeHead(200).end('hello'))
    expect(await server.get()).toEqual({ status: 200, text: 'hello' })
  })

  it.each([403, 404, 410, 418])('leaves status %i to its caller', async (status) => {
    await using server = await serving((response) => response.writeHead(status).end('no'))
    expect(await server.get()).toEqual({ status, text: 'no' })
    expect(server.requests).toHaveLength(1)
  })

  it.each([429, 500, 502, 503, 504])('tries status %i again, and is patient for a while', async (status) => {
    await using server = await serving((response) => response.writeHead(status).end())
    await expect(server.get()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(new RegExp(`^http://127.0.0.1:\\d+/x: HTTP status ${status}`)),
    })
    expect(server.requests).toHaveLength(4)
  })

  it('gets through when the server recovers', async () => {
    await using server = await serving((response) =>
      response.writeHead(server.requests.length < 3 ? 503 : 200).end('back'),
    )
    expect(await server.get()).toEqual({ status: 200, text: 'back' })
  })

  it('does not repeat what the server will never do', async () => {
    await using server = await serving((response) => response.writeHead(501).end())
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
    expect(server.requests).toHaveLength(1)
  })

  it('waits as long as it is asked to, or gives up at once', async () => {
    await using server = await serving((response) =>
      response.writeHead(429, { 'retry-after': server.requests.length === 1 ? '0' : '3600' }).end(),
    )
    await expect(server.get()).rejects.toThrow('HTTP status 429, try again in 3600 s')
    expect(server.requests).toHaveLength(2)
  })

  it('names who cannot be reached', async () => {
    const server = await serving((response) => response.end())
    await server[Symbol.asyncDispose]()
    using client = httpClient(QUICK)
    await expect(textOf(client, server.url)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })

  it('tells a body that breaks off from one that ends', async () => {
    await using server = await serving((response) => {
      response.writeHead(200, { 'content-length': '10' }).write('hello')
      setImmediate(() => response.destroy())
    })
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('tells a chunked body that breaks off from one that ends', async () => {
    await using server = await serving((response) => {
      response.writeHead(200).write('hello')
      setImmediate(() => response.destroy())
    })
    await expect(server.get()).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('does not wait for an answer for ever', async () => {
    await using server = await serving(() => {}, IMPATIENT)
    await expect(server.get()).rejects.toMatchObject({
      code: 'deadline',
      message: expect.stringContaining('no answer within 0.05 s'),
    })
  })

  it('does not wait for a body that drips', async () => {
    await using server = await serving((response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write('.'), 5)
      response.on('close', () => clearInterval(drip))
    }, IMPATIENT)
    await expect(server.get()).rejects.toMatchObject({
      code: 'deadline',
      message: expect.stringMatching(/only \d+ bytes within 0.05 s/),
    })
  })

  it('ends with the signal, before the answer and within the body', async () => {
    const controller = new AbortController()
    const reason = new StoreError('cancelled', 'the test aborts')
    await using silent = await serving(() => controller.abort(reason))
    await expect(silent.get('x', controller.signal)).rejects.toBe(reason)

    const later = new AbortController()
    await using halfway = await serving((response) => response.writeHead(200).write('hello'))
    const { body } = await halfway.client.request(halfway.url, { signal: later.signal })
    await expect(async () => {
      for await (const _ of body) later.abort(reason)
    }).rejects.toBe(reason)
  })

  it('holds no more than its reader allows', async () => {
    await using server = await serving((response) => response.end('x'.repeat(1000)))
    const { body } = await server.client.request(server.url)
    await expect(body.bytes(999)).rejects.toMatchObject({ code: 'corrupt' })
    const again = await server.client.request(server.url)
    expect(await again.body.bytes(1000)).toHaveLength(1000)
  })

  it('refuses headers without end', async () => {
    await using server = await serving((response) =>
      response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end(),
    )
    await expect(server.get()).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('refuses URLs without end, and those of other kinds', async () => {
    using client = httpClient(QUICK)
    const long = new URL(`http://127.0.0.1/${'x'.repeat(HTTP_URL_CHARACTERS_MAX)}`)
    await expect(client.request(long)).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(client.request(new URL('file:///etc/passwd'))).rejects.toMatchObject({
      code: 'invalid-argument',
    })
  })
})

describe('redirects', () => {
  it('are followed, relative ones too', async () => {
    await using server = await serving((response, { url }) =>
      url === '/a/there'
        ? response.end('arrived')
        : response.writeHead(302, { location: 'a/there' }).end('ignored'),
    )
    expect(await server.get()).toEqual({ status: 200, text: 'arrived' })
  })

  it('end', async () => {
    await using server = await serving((response) => response.writeHead(307, { location: '/loop' }).end())
    await expect(server.get()).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('more than 8 redirects'),
    })
    expect(server.requests).toHaveLength(HTTP_REDIRECTS_MAX + 1)
  })

  it.each(['file:///etc/passwd', 'ftp://127.0.0.1/x', 'data:,x', 'http://['])(
    'are not followed to %s',
    async (location) => {
      await using server = await serving((response) => response.writeHead(301, { location }).end())
      await expect(server.get()).rejects.toMatchObject({ code: 'corrupt' })
    },
  )

  it('take no credentials to other hosts', async () => {
    const seen: (string | undefined)[] = []
    await using other = await startHttpServer((response, { headers }) => {
      seen.push(headers.authorization)
      response.end()
    })
    await using server = await serving((response, { headers }) => {
      seen.push(headers.authorization)
      response.writeHead(302, { location: other.url.href }).end()
    })
    await server.client.request(server.url, { headers: { Authorization: 'Bearer t' } })
    expect(seen).toEqual(['Bearer t', undefined])
  })

  it('of what writes are left to the caller', async () => {
    await using server = await serving((response) => response.writeHead(307, { location: '/x' }).end())
    const { status } = await server.client.request(server.url, { method: 'PUT', body: Buffer.from('x') })
    expect(status).toBe(307)
  })
})
