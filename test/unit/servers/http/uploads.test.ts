/** What is put into the cache (spec §7.3, §7.4): in any order, and nothing visible that was not verified. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { brotliCompressSync, gzipSync, zstdCompressSync } from 'node:zlib'
import { beforeEach, describe, expect, test } from 'vitest'
import type { NarInfo } from '../../../../src/model/nix/narinfo.ts'
import { renderNarInfo } from '../../../../src/model/nix/narinfo-renderer.ts'
import { encodeNixbase32 } from '../../../../src/model/nix/nixbase32.ts'
import { memoryNarIndex } from '../../../../src/services/nar-index/memory.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import { signingPathInfoService } from '../../../../src/services/pathinfos/signing.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { NARINFO_BYTES_MAX, PENDING_NARINFO_MS_MAX } from '../../../../src/support/limits.ts'
import { type CachedPath, makeCachedPath } from '../../../support/binary-cache.ts'
import { collect } from '../../../support/collect.ts'
import { makeSigningKey } from '../../../support/signing-keys.ts'
import { startTestBridge, type TestBridge } from '../../../support/test-bridge.ts'
import { vectors } from '../../../support/vectors.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

interface Upload {
  readonly path: CachedPath
  readonly narInfo: NarInfo
  readonly file: Uint8Array
  readonly fileUrl: string
  readonly infoUrl: string
}

type Coding = '' | '.xz' | '.zst' | '.bz2' | '.gz' | '.br' | 'gzip without a suffix'

const COMPRESS: Readonly<
  Record<Coding, [name: string | undefined, compress: (bytes: Uint8Array) => Uint8Array]>
> = {
  '': [undefined, (bytes) => bytes],
  '.xz': ['xz', (input) => execFileSync('xz', ['--stdout'], { input })],
  '.zst': ['zstd', (bytes) => zstdCompressSync(bytes)],
  '.bz2': ['bzip2', (input) => execFileSync('bzip2', ['--stdout'], { input })],
  '.gz': ['gzip', (bytes) => gzipSync(bytes)],
  '.br': ['br', (bytes) => brotliCompressSync(bytes)],
  'gzip without a suffix': ['gzip', (bytes) => gzipSync(bytes)],
}
const CODINGS = Object.keys(COMPRESS) as Coding[]

/** As Nix uploads it: the file is named by its own hash. */
async function makeUpload(
  label: string,
  coding: Coding = '',
  changes: Partial<NarInfo> = {},
): Promise<Upload> {
  const path = await makeCachedPath(label)
  const [compression, compress] = COMPRESS[coding]
  const file = compress(path.nar)
  const fileHash = sha256(file)
  const url = `nar/${encodeNixbase32(fileHash)}.nar${coding.startsWith('.') ? coding : ''}`
  const narInfo = { ...path.narInfo, url, compression, fileHash, fileSize: BigInt(file.length), ...changes }
  const infoUrl = `/${encodeNixbase32(narInfo.storePath.digest)}.narinfo`
  return { path, narInfo, file, fileUrl: `/${url}`, infoUrl }
}

let bridge: TestBridge
let now = Date.now()
beforeEach(async () => {
  bridge = await startTestBridge({ now: () => now })
  return () => bridge[Symbol.asyncDispose]()
})

const putNar = ({ fileUrl, file }: Upload, on = bridge) => on.send('PUT', fileUrl, { body: file })
const putInfo = ({ infoUrl, narInfo }: Upload, on = bridge) =>
  on.send('PUT', infoUrl, { body: renderNarInfo(narInfo) })

async function expectVisible({ infoUrl, path }: Upload, on = bridge): Promise<void> {
  const answer = await on.send('GET', infoUrl)
  expect(answer.status).toBe(200)
  const [, url] = /^URL: (.*)$/m.exec(answer.body.toString())!
  expect((await on.send('GET', `/${url}`)).body.equals(path.nar)).toBe(true)
}

async function expectInvisible({ infoUrl }: Upload, on = bridge): Promise<void> {
  expect((await on.send('GET', infoUrl)).status).toBe(404)
  expect((await on.send('HEAD', infoUrl)).status).toBe(404)
}

describe.each(CODINGS)('compression "%s"', (coding) => {
  test('NAR, then narinfo; the file is there for who remembers its name', async () => {
    const upload = await makeUpload('one', coding)
    expect((await bridge.send('HEAD', upload.fileUrl)).status).toBe(404)
    const stored = await putNar(upload)
    expect([stored.status, stored.body.length]).toEqual([200, 0])
    expect(stored.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect((await bridge.send('HEAD', upload.fileUrl)).status).toBe(200)
    await expectInvisible(upload)
    expect((await putInfo(upload)).status).toBe(200)
    await expectVisible(upload)
    const again = await bridge.send('GET', upload.fileUrl)
    expect(again.status).toBe(200)
    expect(again.isTorn).toBe(false)
    const [name] = COMPRESS[coding]
    const plain =
      name === 'xz' || name === 'bzip2'
        ? execFileSync(name, ['--decompress', '--stdout'], { input: again.body })
        : undefined
    if (plain) expect(plain.equals(upload.path.nar)).toBe(true)
    if (!name) expect(again.body.equals(upload.path.nar)).toBe(true)
  })

  test('narinfo, then NAR', async () => {
    const upload = await makeUpload('two', coding)
    expect((await putInfo(upload)).status).toBe(200)
    await expectInvisible(upload)
    expect((await putNar(upload)).status).toBe(200)
    await expectVisible(upload)
    expect(await collect(bridge.parts.narIndex.listPending())).toEqual([])
  })
})

test('both at the same time, many times', async () => {
  for (let round = 0; round < 20; round++) {
    const upload = await makeUpload(`race-${round}`, round % 2 ? '.zst' : '')
    const [nar, info] = await Promise.all([putNar(upload), putInfo(upload)])
    expect([nar.status, info.status]).toEqual([200, 200])
    await expectVisible(upload)
  }
})

test('a narinfo of another file finds a NAR that is here already', async () => {
  await putNar(await makeUpload('same', '.zst'))
  const other = await makeUpload('same', '.xz')
  expect((await putInfo(other)).status).toBe(200)
  await expectVisible(other)
})

test('the narinfo of another bridge, whose URL is a root node', async () => {
  const upload = await makeUpload('mirror')
  await putNar(upload)
  const mirrored = {
    ...upload,
    narInfo: { ...upload.narInfo, url: 'nar/tvix-castore/Cg?narsize=1', fileHash: undefined },
  }
  expect((await putInfo(mirrored)).status).toBe(200)
  await expectVisible(upload)
})

describe('vectors', () => {
  test('a NAR under the hash of another', async () => {
    const nar = Buffer.from(vectors.nar.valid[0].nar_b64, 'base64')
    const answer = await bridge.send('PUT', `/nar/${'0'.repeat(52)}.nar`, { body: nar })
    expect(answer.status).toBe(400)
  })

  test('helloworld: its blob exists afterwards', async () => {
    const vector = vectors.nar.valid.find((each: { name: string }) => each.name === 'helloworld')
    const body = Buffer.from(vector.nar_b64, 'base64')
    const url = `/nar/${vector.nar_sha256_nixbase32}.nar`
    expect((await bridge.send('PUT', url, { body })).status).toBe(200)
    expect((await bridge.send('HEAD', url)).headers['content-length']).toBe(`${body.length}`)
    expect((await bridge.send('GET', url)).body.equals(body)).toBe(true)
  })
})

describe('refused, and not visible', () => {
  const lies: [string, Coding, (upload: Upload) => Partial<NarInfo>, RegExp][] = [
    ['NarHash', '', () => ({ narSha256: sha256(Buffer.from('x')) }), /NarHash/],
    ['NarHash of a compressed file', '.zst', () => ({ narSha256: sha256(Buffer.from('x')) }), /NarHash/],
    ['NarSize', '', ({ narInfo }) => ({ narSize: narInfo.narSize + 1n }), /NarSize/],
    ['FileHash', '.xz', () => ({ fileHash: sha256(Buffer.from('x')) }), /FileHash/],
    ['FileSize', '.xz', () => ({ fileSize: 1n }), /FileSize/],
    [
      'content address',
      '',
      () => ({ ca: { kind: 'nar', algorithm: 'sha256', digest: sha256(Buffer.from('x')) } }),
      /content address/,
    ],
  ]
  test.each(lies)('%s (%s) is a lie, told after the NAR', async (_, coding, lie, reason) => {
    const honest = await makeUpload('lie', coding)
    const upload = { ...honest, narInfo: { ...honest.narInfo, ...lie(honest) } }
    await putNar(upload)
    const answer = await putInfo(upload)
    expect([answer.status, answer.body.toString()]).toEqual([400, expect.stringMatching(reason)])
    await expectInvisible(upload)
    expect((await putInfo(honest)).status).toBe(200)
    await expectVisible(honest)
  })

  test.each(lies)('%s (%s) is a lie, told before the NAR', async (_, coding, lie, reason) => {
    const honest = await makeUpload('lie', coding)
    const upload = { ...honest, narInfo: { ...honest.narInfo, ...lie(honest) } }
    const told = await putInfo(upload)
    const stored = await putNar(upload)
    // One of the two says so: nobody is told OK of something that is then lost.
    const refusal = told.status === 200 ? stored : told
    expect([refusal.status, refusal.body.toString()]).toEqual([400, expect.stringMatching(reason)])
    await expectInvisible(upload)
    expect((await bridge.send('HEAD', honest.fileUrl)).status).toBe(200)
    expect((await putInfo(honest)).status).toBe(200)
    await expectVisible(honest)
  })

  test('the URL of another path', async () => {
    const upload = await makeUpload('one')
    await putNar(upload)
    const answer = await putInfo({ ...upload, infoUrl: `/${'0'.repeat(32)}.narinfo` })
    expect(answer.status).toBe(400)
  })

  test.each(['', 'nonsense', 'StorePath: /etc/passwd\n'])('a document like %j', async (body) => {
    const answer = await bridge.send('PUT', `/${'0'.repeat(32)}.narinfo`, { body })
    expect(answer.status).toBe(400)
  })

  test.each<[string, Uint8Array]>([
    ['nothing', Buffer.alloc(0)],
    ['no NAR', Buffer.from('this is no NAR at all')],
    ['half of a NAR', Buffer.from(vectors.nar.valid[0].nar_b64, 'base64').subarray(0, 100)],
    [
      'a NAR and more',
      Buffer.concat([Buffer.from(vectors.nar.valid[0].nar_b64, 'base64'), Buffer.from('more')]),
    ],
  ])('%s, under its own hash', async (_, body) => {
    const url = `/nar/${encodeNixbase32(sha256(body))}.nar`
    const answer = await bridge.send('PUT', url, { body })
    expect(answer.status).toBe(400)
    expect(answer.body.toString()).toMatch(/NAR/)
    expect((await bridge.send('HEAD', url)).status).toBe(404)
  })

  test.each<Coding>(['.xz', '.zst', '.bz2', '.br'])('what is no %s', async (suffix) => {
    const body = Buffer.from('surely not compressed, as anybody can see who looks at it')
    const answer = await bridge.send('PUT', `/nar/${encodeNixbase32(sha256(body))}.nar${suffix}`, { body })
    expect(answer.status).toBe(400)
    expect(answer.body.toString()).toMatch(/decompress/)
  })
})

test('content codings of uploads', async () => {
  const upload = await makeUpload('coded')
  const coded = (encoding: string, body: Uint8Array) => ({ headers: { 'content-encoding': encoding }, body })
  expect(
    (await bridge.send('PUT', upload.fileUrl, coded('zstd', zstdCompressSync(upload.file)))).status,
  ).toBe(200)
  const document = renderNarInfo(upload.narInfo)
  expect((await bridge.send('PUT', upload.infoUrl, coded('gzip', gzipSync(document)))).status).toBe(200)
  await expectVisible(upload)
  expect((await bridge.send('PUT', upload.infoUrl, coded('rot13', Buffer.from(document)))).status).toBe(415)
})

test('a narinfo as large as it may be, and a byte larger; a listing is taken and forgotten', async () => {
  const upload = await makeUpload('large')
  await putNar(upload)
  const document = renderNarInfo(upload.narInfo)
  const padded = (bytes: number) => `${document}Comment: ${'x'.repeat(bytes - document.length - 10)}\n`
  const put = (bytes: number) => bridge.send('PUT', upload.infoUrl, { body: padded(bytes) })
  expect((await put(NARINFO_BYTES_MAX)).status).toBe(200)
  expect((await put(NARINFO_BYTES_MAX + 1)).status).toBe(413)
  const listing = await bridge.send('PUT', upload.infoUrl.replace('narinfo', 'ls'), { body: 'anything' })
  expect([listing.status, listing.body.length]).toEqual([200, 0])
})

test('signatures: ours are added, those of others stay when somebody uploads the path again', async () => {
  const ours = makeSigningKey('ours-1')
  const pathInfos = signingPathInfoService(memoryPathInfoService(), [ours])
  await using own = await startTestBridge({ pathInfos })
  const upload = await makeUpload('signed')
  const unsigned = { ...upload, narInfo: { ...upload.narInfo, signatures: [] } }
  await putNar(upload, own)
  for (const each of [upload, unsigned, upload]) expect((await putInfo(each, own)).status).toBe(200)
  const { body } = await own.send('GET', upload.infoUrl)
  const names = [...body.toString().matchAll(/^Sig: ([^:]*):/gm)].map(([, name]) => name)
  expect(names.sort()).toEqual(['cache.test-1', 'ours-1'])
})

test('what waits outlives the process, and not its time', async () => {
  const narIndex = memoryNarIndex()
  const { blobs, directories, pathInfos } = bridge.parts
  const shared = { narIndex, blobs, directories, pathInfos, now: () => now }
  const [late, never] = [await makeUpload('late'), await makeUpload('never')]
  {
    await using first = await startTestBridge(shared)
    await putInfo(late, first)
    await putInfo(never, first)
    // As if it had been killed after the NAR was stored and before the narinfo was looked for.
    const { node } = await first.parts.ingestNar(
      (async function* () {
        yield late.file
      })(),
    )
    const narSize = BigInt(late.file.length)
    const nar = {
      node,
      narSha256: sha256(late.file),
      narSize,
      fileSize: narSize,
      compression: 'none' as const,
    }
    await narIndex.put(nar.narSha256, nar)
  }
  await using second = await startTestBridge(shared)
  await expectInvisible(late, second)
  await second.bridge.resume({})
  await expectVisible(late, second)
  expect(await collect(narIndex.listPending())).toHaveLength(1)
  now += PENDING_NARINFO_MS_MAX + 1
  await second.bridge.resume({})
  expect(await collect(narIndex.listPending())).toEqual([])
  await putNar(never, second)
  await expectInvisible(never, second)
})

test('too many that wait: the client is told, and to upload NARs first', async () => {
  const narIndex = memoryNarIndex({ pending: { count: 2, bytes: 1_000_000 } })
  await using own = await startTestBridge({ narIndex })
  const uploads = await Promise.all(['a', 'b', 'c'].map((label) => makeUpload(label)))
  const statuses = []
  for (const upload of uploads) statuses.push((await putInfo(upload, own)).status)
  expect(statuses).toEqual([200, 200, 429])
  // Again the same one is no further one.
  expect((await putInfo(uploads[0]!, own)).status).toBe(200)
  await putNar(uploads[0]!, own)
  expect((await putInfo(uploads[2]!, own)).status).toBe(200)
})

test('a NAR whose contents were removed since is asked for again', async () => {
  const upload = await makeUpload('collected')
  const before = await startTestBridge()
  await putNar(upload, before)
  const { narIndex } = before.parts
  await before[Symbol.asyncDispose]()
  await using after = await startTestBridge({ narIndex })
  expect((await after.send('HEAD', upload.fileUrl)).status).toBe(404)
  await putInfo(upload, after)
  await expectInvisible(upload, after)
  await putNar(upload, after)
  await expectVisible(upload, after)
})

test('a store that fails: 503 without its address, and the upload can be repeated', async () => {
  let isDown = true
  const pathInfos = memoryPathInfoService()
  const failing: typeof pathInfos = {
    get: (hash) => pathInfos.get(hash),
    list: () => pathInfos.list(),
    put: async (pathInfo) => {
      if (isDown) throw new StoreError('unavailable', 'lmdb:///var/lib/secret/place: disk full')
      return pathInfos.put(pathInfo)
    },
  }
  await using own = await startTestBridge({ pathInfos: failing })
  const upload = await makeUpload('outage')
  await putInfo(upload, own)
  const answer = await putNar(upload, own)
  expect(answer.status).toBe(503)
  expect(answer.headers['retry-after']).toBeDefined()
  expect(answer.body.toString()).not.toContain('secret')
  isDown = false
  expect((await putNar(upload, own)).status).toBe(200)
  await expectVisible(upload, own)
})
