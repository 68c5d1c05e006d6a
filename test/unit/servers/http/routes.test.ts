/** Every row of spec §7.1, §7.2 and §7.4 that reads, with the vectors of the specification. */
import { createHash } from 'node:crypto'
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeAnonymousNode } from '../../../../src/model/castore/directory-codec.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import { narUrl } from '../../../../src/servers/http/nar-url.ts'
import { HTTP_ROOT_NODE_BYTES_MAX, SYMLINK_TARGET_BYTES_MAX } from '../../../../src/support/limits.ts'
import { makeNar } from '../../../support/binary-cache.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { startTestBridge, type TestBridge } from '../../../support/test-bridge.ts'
import { vectors } from '../../../support/vectors.ts'

const ABSENT = '00000000000000000000000000000000'
const HASH = '0000000000000000000000000000000000000000000000000000'
const IMMUTABLE = 'max-age=31536000, immutable'
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

let bridge: TestBridge
/** A directory with a large file. */
let nar: Uint8Array
/** Where that NAR is, and its narinfo and listing without their suffix. */
let url: string
let path: string

beforeAll(async () => {
  bridge = await startTestBridge()
  nar = (await makeNar('routes')).nar
  const node = await bridge.ingest(nar)
  url = `/${narUrl(node, BigInt(nar.length))}`
  const pathInfo = makePathInfo('routes', { node, narSize: BigInt(nar.length), narSha256: sha256(nar) })
  await bridge.parts.pathInfos.put(pathInfo)
  path = `/${pathInfo.storePath.toString().slice(0, 32)}`
})
afterAll(() => bridge[Symbol.asyncDispose]())

describe('statuses', () => {
  test.each<[method: string, path: string, status: number]>([
    ['GET', '/', 200],
    ['HEAD', '/', 200],
    ['PUT', '/', 405],
    ['GET', '/nix-cache-info', 200],
    ['HEAD', '/nix-cache-info?x=y', 200],
    ['PUT', '/nix-cache-info', 405],
    ['DELETE', '/nix-cache-info', 405],
    ['GET', '/nix-cache-info/', 404],
    ['GET', `/${ABSENT}.narinfo`, 404],
    ['HEAD', `/${ABSENT}.narinfo`, 404],
    ['POST', `/${ABSENT}.narinfo`, 405],
    ['GET', `/${ABSENT}.ls`, 404],
    ['HEAD', `/${ABSENT}.ls`, 404],
    ['GET', '/nonsense.narinfo', 404],
    ['GET', `/${ABSENT.slice(1)}e.narinfo`, 404],
    ['PUT', '/nonsense.narinfo', 404],
    ['GET', `/nar/${HASH}.nar`, 404],
    ['HEAD', `/nar/${HASH}.nar`, 404],
    ['GET', `/nar/${HASH}.nar.xz`, 404],
    ['HEAD', '/nar/nonsense.nar', 404],
    ['PUT', '/nar/nonsense.nar', 400],
    ['PUT', `/nar/${HASH}.nar.lz4`, 400],
    ['PATCH', `/nar/${HASH}.nar`, 405],
    ['GET', '/nar/', 404],
    ['GET', '/somewhere/else', 404],
    ['GET', '/..%2f..%2fetc/passwd', 404],
    ['GET', '/%', 404],
  ])('%s %s: %i', async (method, target, status) => {
    const answer = await bridge.send(method, target)
    expect(answer.status).toBe(status)
    if (status === 405) expect(answer.headers.allow).toMatch(/^GET, HEAD/)
    if (method === 'HEAD') expect(answer.body.length).toBe(0)
    if (status >= 400 && method !== 'HEAD') expect(answer.body.toString()).toMatch(/^[^\n]+\n$/)
  })
})

test('vectors: nix-cache-info, and the greeting', async () => {
  const info = await bridge.send('GET', '/nix-cache-info')
  const vector = vectors.nar_bridge_http.cases.find((each: { body?: string }) => each.body)
  expect(info.body.toString()).toBe(vector.body)
  expect(info.headers['content-type']).toBe('text/x-nix-cache-info')
  expect((await bridge.send('GET', '/')).body.toString()).toBe('Hello from nar-bridge')
})

describe('NAR by root node', () => {
  test.each<[title: string, path: string, status: number]>([
    ['no narsize', '/nar/tvix-castore/CiISIK8TSbn1-aGmoEBN6jbcyUmbyyXJrcESt8yak8rkHzJi', 400],
    ['narsize that is no number', '/nar/tvix-castore/GgoKA2ZvbxIDYmFy?narsize=x', 400],
    ['narsize before base64', '/nar/tvix-castore/!!!', 400],
    ['no base64', '/nar/tvix-castore/!!!?narsize=1', 404],
    ['padded base64', '/nar/tvix-castore/Cg==?narsize=1', 404],
    ['no node', '/nar/snix-castore/?narsize=1', 404],
    ['another prefix', '/nar/castore/Cg?narsize=1', 404],
    ['a digest that is none', '/nar/tvix-castore/Cg8SC2ludmFsaWQgYjY0GAE?narsize=1', 400],
    ['a named node', '/nar/tvix-castore/GgoKA2ZvbxIDYmFy?narsize=1', 400],
    ['no protobuf', '/nar/tvix-castore/____?narsize=1', 404],
    ['something behind it', '/nar/tvix-castore/Cg/x?narsize=1', 404],
    [
      'a root that is not stored',
      '/nar/tvix-castore/EiQSIFyngVrctITpoTbBHv5pwdUwF21Um10Y0DjrUoC0s0cMGAw?narsize=128',
      404,
    ],
  ])('%s', async (_, target, status) => {
    expect((await bridge.send('GET', target)).status).toBe(status)
  })

  test('a node as large as it may be, and a byte larger', async () => {
    const encoded = (length: number) => Buffer.alloc(length, 0xff).toString('base64url')
    const at = (length: number) => bridge.send('GET', `/nar/tvix-castore/${encoded(length)}?narsize=1`)
    expect((await at(HTTP_ROOT_NODE_BYTES_MAX)).status).toBe(404) // no protobuf
    expect((await at(HTTP_ROOT_NODE_BYTES_MAX + 1)).status).toBe(400)
  })

  test('a symlink with the longest target has a URL', async () => {
    const target = symlinkTarget(Buffer.alloc(SYMLINK_TARGET_BYTES_MAX, 'x'))
    const answer = await bridge.send('GET', `/${narUrl({ kind: 'symlink', target }, 4_208n)}`)
    expect([answer.status, answer.body.length]).toEqual([200, 4_208])
  })

  test.each(vectors.nar_bridge_urls.cases as { node: string; b64url: string; tvix_url: string }[])(
    'vector: the URL of $node',
    ({ b64url, tvix_url }) => {
      const node = decodeAnonymousNode(Buffer.from(b64url, 'base64url'))
      expect(narUrl(node, BigInt(tvix_url.split('=')[1]!))).toBe(tvix_url)
    },
  )

  test.each(['tvix', 'snix'])('%s: GET, and HEAD, which asks nobody', async (family) => {
    const answer = await bridge.send('GET', url.replace('tvix', family))
    expect(answer.status).toBe(200)
    expect(answer.body.equals(nar)).toBe(true)
    expect(answer.headers).toMatchObject({
      'content-type': 'application/x-nix-nar',
      'content-length': `${nar.length}`,
      'cache-control': IMMUTABLE,
      'accept-ranges': 'bytes',
      vary: 'accept-encoding',
    })
    const head = await bridge.send('HEAD', url.replace('tvix', family))
    const { date: _, ...same } = answer.headers
    expect(head.headers).toMatchObject(same)
    expect(head.body.length).toBe(0)
    const claimed = await bridge.send('HEAD', url.replace(/narsize=.*/, 'narsize=7'))
    expect(claimed.status).toBe(200)
    expect(claimed.headers['content-length']).toBe('7')
  })

  test('a narsize that is wrong: refused, or torn, never ended as if it were right', async () => {
    for (const wrong of [nar.length - 8, nar.length + 8, 0]) {
      const target = url.replace(/narsize=.*/, `narsize=${wrong}`)
      const answer = await bridge.send('GET', target)
      expect(answer.status).toBe(400)
      const part = await bridge.send('GET', target, { headers: { range: 'bytes=0-7' } })
      expect(part.status).toBe(wrong === 0 ? 416 : 400)
    }
  })

  test.each<[string, number, number]>([
    ['bytes=0-99', 0, 100],
    ['bytes=100-', 100, Number.POSITIVE_INFINITY],
    ['bytes=-24', -24, Number.POSITIVE_INFINITY],
    ['bytes=5-6, 8-9', 5, 7],
  ])('range %s', async (range, start, end) => {
    const answer = await bridge.send('GET', url, { headers: { range, 'accept-encoding': 'zstd' } })
    expect(answer.status).toBe(206)
    const expected = Buffer.from(nar).subarray(start, Math.min(end, nar.length))
    expect(answer.body.equals(expected)).toBe(true)
    const first = start < 0 ? nar.length + start : start
    expect(answer.headers).toMatchObject({
      'content-range': `bytes ${first}-${first + expected.length - 1}/${nar.length}`,
      'content-length': `${expected.length}`,
      'accept-ranges': 'bytes',
      'cache-control': IMMUTABLE,
    })
    expect(answer.headers['content-encoding']).toBeUndefined()
  })

  test('a range beyond the end, and one that is no range', async () => {
    const beyond = await bridge.send('GET', url, { headers: { range: `bytes=${nar.length}-` } })
    expect(beyond.status).toBe(416)
    expect(beyond.headers['content-range']).toBe(`bytes */${nar.length}`)
    expect((await bridge.send('GET', url, { headers: { range: 'lines=1-2' } })).status).toBe(200)
    expect((await bridge.send('HEAD', url, { headers: { range: 'bytes=0-1' } })).status).toBe(200)
  })

  test('conditions: the same bytes are not sent twice', async () => {
    const { headers } = await bridge.send('HEAD', url)
    const etag = headers.etag!
    expect(etag).toMatch(/^"[^"]+"$/)
    const ask = (more: Record<string, string>) => bridge.send('GET', url, { headers: more })
    for (const known of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const answer = await ask({ 'if-none-match': known })
      expect([answer.status, answer.body.length, answer.headers.etag]).toEqual([304, 0, etag])
    }
    expect((await ask({ 'if-none-match': '"x"' })).status).toBe(200)
    expect((await ask({ range: 'bytes=0-1', 'if-range': etag })).status).toBe(206)
    expect((await ask({ range: 'bytes=0-1', 'if-range': '"x"' })).status).toBe(200)
    expect((await ask({ range: 'bytes=0-1', 'if-range': 'Sat, 01 Jan 2000 00:00:00 GMT' })).status).toBe(200)
    // Other bytes have another validator: what was kept compressed is not a part of the plain bytes.
    const encoded = await ask({ 'accept-encoding': 'zstd' })
    expect(encoded.headers.etag).not.toBe(etag)
    expect((await ask({ 'accept-encoding': 'zstd', 'if-none-match': encoded.headers.etag! })).status).toBe(
      304,
    )
  })

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ['zstd', zstdDecompressSync],
    ['gzip', gunzipSync],
  ])('content coding %s', async (coding, decode) => {
    const answer = await bridge.send('GET', url, { headers: { 'accept-encoding': coding } })
    expect(answer.headers['content-encoding']).toBe(coding)
    expect(answer.headers['content-length']).toBeUndefined()
    expect(answer.body.length).toBeLessThan(nar.length / 4)
    expect(decode(answer.body).equals(nar)).toBe(true)
  })
})

describe('narinfo and listing', () => {
  test('vector: PATH_INFO_SYMLINK', async () => {
    const vector = vectors.narinfo.rendered_pathinfo.cases[0]
    const [, encoded] = /castore\/([^?]+)/.exec(vector.text)!
    const symlink = vectors.nar.valid.find((each: { name: string }) => each.name === 'symlink')
    await bridge.parts.pathInfos.put(
      makePathInfo('symlink', {
        storePath: StorePath.parse('00000000000000000000000000000000-dummy'),
        node: decodeAnonymousNode(Buffer.from(encoded!, 'base64url')),
        narSize: 136n,
        narSha256: Buffer.from(symlink.nar_sha256_hex, 'hex'),
      }),
    )
    await using own = await startTestBridge({ pathInfos: bridge.parts.pathInfos })
    const answer = await own.send('GET', '/00000000000000000000000000000000.narinfo')
    expect(answer.body.toString()).toBe(vector.text)
  })

  test.each<[string, string]>([
    ['.narinfo', 'text/x-nix-narinfo'],
    ['.ls', 'application/json'],
  ])('%s: HEAD tells what GET brings', async (suffix, type) => {
    const answer = await bridge.send('GET', `${path}${suffix}`)
    expect([answer.status, answer.headers['content-type']]).toEqual([200, type])
    expect(answer.headers['content-length']).toBe(`${answer.body.length}`)
    const head = await bridge.send('HEAD', `${path}${suffix}`)
    const { date: _, ...same } = answer.headers
    expect(head.headers).toMatchObject(same)
    expect([head.status, head.body.length]).toEqual([200, 0])
    const known = { 'if-none-match': answer.headers.etag! }
    expect((await bridge.send('GET', `${path}${suffix}`, { headers: known })).status).toBe(304)
  })

  test('the URL in the narinfo is where the NAR is', async () => {
    const { body } = await bridge.send('GET', `${path}.narinfo`)
    const [, target] = /^URL: (.*)$/m.exec(body.toString())!
    expect((await bridge.send('GET', `/${target}`)).body.equals(nar)).toBe(true)
    expect(body.toString()).not.toMatch(/^System|^FileHash/m)
  })

  test('offsets of the listing lead into the NAR', async () => {
    const { root } = JSON.parse((await bridge.send('GET', `${path}.ls`)).body.toString())
    const { narOffset, size } = root.entries.bin.entries.run
    const range = `bytes=${narOffset}-${narOffset + size - 1}`
    const { body } = await bridge.send('GET', url, { headers: { range } })
    expect(body.toString()).toBe('#!/bin/sh\necho routes\n')
  })
})
