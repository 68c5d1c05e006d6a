/** What `castore http` answers (spec §4.5): status, types, ranges, redirects and lists, over stores in memory. */
import { once } from 'node:events'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { createDirectorySite, type DirectorySiteParts } from '../../../../src/servers/http/directory-site.ts'
import { createHttpServer, type HttpServer } from '../../../../src/servers/http/server.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { silentLogger } from '../../../../src/support/log.ts'
import { ingestTar } from '../../../../src/transfer/ingest-tar.ts'
import { tarOf } from '../../../support/tar.ts'
import { send } from '../../../support/test-bridge.ts'

const LARGE = Buffer.alloc(300_000).map((_, i) => i % 251)

const blobs = memoryBlobService()
const directories = memoryDirectoryService()
const servers: HttpServer[] = []
let root: Digest
let plain: string
let listing: string

async function* onePiece(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

async function serve(changes: Partial<DirectorySiteParts> = {}, query = ''): Promise<string> {
  const handler = createDirectorySite({
    blobs,
    directories,
    root,
    indexNames: [utf8('index.html'), utf8('index.txt')],
    isListed: false,
    ...changes,
  })
  const server = createHttpServer({ handler, logger: silentLogger, isReadOnly: true })
  servers.push(server)
  return `http://${await server.listen(`127.0.0.1:0${query}`)}`
}

const get = (url: string, path: string, headers: Record<string, string> = {}) =>
  send(`${url}${path}`, 'GET', { headers })

beforeAll(async () => {
  const tar = tarOf(
    { path: 'site/', type: '5' },
    { path: 'site/docs/', type: '5' },
    { path: 'site/docs/index.html', contents: utf8('<h1>docs</h1>') },
    { path: 'site/docs/index.txt', contents: utf8('the second choice') },
    { path: 'site/docs/link', type: '2', link: '.././docs//../docs/index.txt' },
    { path: 'site/docs/out', type: '2', link: '../../etc/passwd' },
    { path: 'site/docs/absolute', type: '2', link: '/plain/a b&c<d>' },
    { path: 'site/folder', type: '2', link: 'docs' },
    { path: 'site/plain/', type: '5' },
    { path: 'site/plain/index.html/', type: '5' },
    { path: 'site/plain/a b&c<d>', contents: utf8('odd name') },
    { path: 'site/plain/javascript:x', contents: utf8('no scheme') },
    { path: 'site/plain/large.bin', contents: LARGE },
    { path: 'site/plain/style.css', contents: utf8('a{}') },
  )
  const node = await ingestTar({ blobs, directories }, onePiece(tar), { sizeFormula: 'rust' })
  if (node.kind !== 'directory') throw new Error('no directory')
  root = node.digest
  plain = await serve()
  listing = await serve({ isListed: true })
})

afterAll(async () => {
  for (const server of servers) await server.shutdown(1000)
})

describe('a file', () => {
  test('comes with its type, its length and a tag', async () => {
    const answer = await get(plain, '/plain/style.css')
    expect(answer).toMatchObject({ status: 200, body: Buffer.from('a{}') })
    expect(answer.headers).toMatchObject({
      'content-type': 'text/css; charset=utf-8',
      'content-length': '3',
      'accept-ranges': 'bytes',
      etag: `"${Digest.of(utf8('a{}')).hex}"`,
    })
    const known = await get(plain, '/plain/style.css', { 'if-none-match': answer.headers.etag! })
    expect(known.status).toBe(304)
  })

  test('comes in ranges', async () => {
    const answer = await get(plain, '/plain/large.bin', { range: 'bytes=100000-199999' })
    expect(answer.status).toBe(206)
    expect(answer.headers['content-range']).toBe('bytes 100000-199999/300000')
    expect(answer.body.equals(Buffer.from(LARGE.subarray(100_000, 200_000)))).toBe(true)
    expect((await get(plain, '/plain/large.bin', { range: 'bytes=300000-' })).status).toBe(416)
  })

  test('is told of without its contents by HEAD', async () => {
    const { status, headers, body } = await send(`${plain}/plain/large.bin`, 'HEAD')
    expect({
      status,
      length: headers['content-length'],
      type: headers['content-type'],
      bytes: body.length,
    }).toEqual({
      ...{ status: 200, length: '300000', type: 'application/octet-stream', bytes: 0 },
    })
  })

  test('of any name is found under its bytes', async () => {
    expect((await get(plain, '/plain/a%20b&c%3cd%3E')).body.toString()).toBe('odd name')
  })
})

describe('a directory', () => {
  test.each(['/docs', '/docs/'])('%s is its first index file', async (path) => {
    const { status, headers, body } = await get(plain, path)
    expect({ status, type: headers['content-type'], body: body.toString() }).toEqual({
      ...{ status: 200, type: 'text/html; charset=utf-8', body: '<h1>docs</h1>' },
    })
  })

  test('without one is 403, unless it is to be listed; a directory of that name is none', async () => {
    for (const path of ['/', '/plain', '/plain/']) {
      expect((await get(plain, path)).status).toBe(403)
      expect((await get(listing, path)).status).toBe(200)
    }
    expect((await get(await serve({ isListed: true }, '?role=no-list'), '/plain')).status).toBe(403)
  })

  test.each(['/plain', '/plain/'])(
    '%s is listed with links that lead to its entries, and with no markup of theirs',
    async (path) => {
      const { headers, body } = await get(listing, path)
      expect(headers['content-security-policy']).toBe("default-src 'none'")
      const page = body.toString()
      expect(page).toContain('a b&amp;c&lt;d&gt;')
      expect(page).not.toContain('<d>')
      const links = [...page.matchAll(/href="([^"]*)"/g)].map(
        ([, href]) => new URL(href!, `${listing}${path}`).pathname,
      )
      expect(links).toEqual([
        ...['/', '/plain/a%20b%26c%3Cd%3E', '/plain/index.html/', '/plain/javascript%3Ax'],
        ...['/plain/large.bin', '/plain/style.css'],
      ])
      for (const link of links) expect((await get(listing, link)).status).toBe(200)
    },
  )
})

describe('a symlink', () => {
  test.each([
    ['/docs/link', '/docs/index.txt'],
    ['/docs/absolute', '/plain/a%20b%26c%3Cd%3E'],
    ['/folder', '/docs'],
    ['/folder/', '/docs'],
    ['/folder/link', '/docs/link'],
  ])('%s is a redirect to %s', async (path, location) => {
    const { status, headers } = await get(plain, path)
    expect({ status, location: headers.location }).toEqual({ status: 307, location })
  })

  test('that leads out of the site leads nowhere', async () => {
    expect((await get(plain, '/docs/out')).status).toBe(404)
  })
})

test.each(['/a//b', '//', '/a/../b', '/.', '/%', '/a%2fb', '/a%00'])('%s is 400', async (path) => {
  // As it is: a URL would be made a better one first.
  const { hostname, port } = new URL(plain)
  const [response] = await once(request({ hostname, port, path, agent: false }).end(), 'response')
  expect(response.resume().statusCode).toBe(400)
})

test.each(['/nothing', '/docs/nothing', '/docs/index.html/below', '/docs/index.html/'])(
  '%s is 404',
  async (path) => {
    expect((await get(plain, path)).status).toBe(404)
  },
)

test('what asks for something else than to read is 405, and a root that is lost 502', async () => {
  expect(await send(`${plain}/docs`, 'PUT', { body: 'x' })).toMatchObject({
    status: 405,
    headers: { allow: 'GET, HEAD' },
  })
  expect((await get(await serve({ root: Digest.of(utf8('lost')) }), '/docs')).status).toBe(502)
})
