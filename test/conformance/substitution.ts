import assert from 'node:assert/strict'
import { zstdCompressSync } from 'node:zlib'
import type { NarInfo } from '../../src/model/nix/narinfo.ts'
import { renderNarInfo } from '../../src/model/nix/narinfo-renderer.ts'
import { encodeNixbase32 } from '../../src/model/nix/nixbase32.ts'
import { narStorePath } from '../../src/model/nix/store-path-calculation.ts'
import { encodePathInfo } from '../../src/model/wire/path-info.ts'
import type { HttpPolicy } from '../../src/services/http-policy.ts'
import type { PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { signed } from '../../src/services/pathinfos/signing.ts'
import { concatBytes, equalBytes, hex, utf8 } from '../../src/support/bytes.ts'
import { COMPRESSIONS } from '../../src/support/decompress.ts'
import { StoreError } from '../../src/support/errors.ts'
import { type Contents, renderNar } from '../../src/transfer/render-nar.ts'
import {
  asBridgePath,
  CACHE_KEY,
  type CachedPath,
  type CachedPathOptions,
  makeCachedPath,
  startTestCache,
  type TestCache,
} from '../support/binary-cache.ts'
import { until } from '../support/cli.ts'
import { collect } from '../support/collect.ts'
import type { Answer } from '../support/http-server.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { makeSigningKey } from '../support/signing-keys.ts'
import type { Case } from './suite.ts'

export interface Substituter extends AsyncDisposable {
  /** How often what is beside the cache was asked. */
  readonly asksBeside: number
  readonly pathInfos: PathInfoService
  readonly castore: Contents
  /** Names of the paths that were told to be kept for the next time. */
  readonly kept: readonly string[]
}

export interface SubstituterOptions {
  readonly policy?: Partial<HttpPolicy>
  readonly absentMs?: number
  /** What is beside the cache; nothing answers there unless given. */
  readonly beside?: Contents
}

/** Opens a service over the caches that the addresses name, with empty stores behind it. */
export type OpenSubstituter = (addresses: readonly string[], options?: SubstituterOptions) => Substituter

const hashOf = ({ pathInfo }: CachedPath) => pathInfo.storePath.digest

async function assertSubstituted({ pathInfos, castore }: Substituter, path: CachedPath): Promise<void> {
  const found = await pathInfos.get(hashOf(path))
  assert.ok(found, 'it is absent')
  assert.equal(hex(encodePathInfo(found)), hex(encodePathInfo(path.pathInfo)))
  const nar = concatBytes(await collect(renderNar(castore, found.node)))
  assert.ok(equalBytes(nar, path.nar), 'the contents are others')
}

/** Refused with this reason, and nothing is kept or shown later. */
async function assertRefused(
  { pathInfos, kept }: Substituter,
  path: CachedPath,
  code: string,
  reason: RegExp,
): Promise<void> {
  const refused = (error: unknown) => {
    assert.ok(error instanceof StoreError, String(error))
    assert.equal(error.code, code, error.message)
    assert.match(error.message, reason)
    return true
  }
  await assert.rejects(pathInfos.get(hashOf(path)), refused)
  await assert.rejects(pathInfos.get(hashOf(path)), refused, 'the second time it was shown')
  assert.deepEqual(kept, [])
}

async function withCache(use: (cache: TestCache) => Promise<void>, info?: string): Promise<void> {
  await using cache = await startTestCache(info)
  await use(cache)
}

type Lie = Parameters<TestCache['add']>[1]

/** A cache that lies about its one path, and what becomes of that. */
function refusal(
  title: string,
  code: string,
  reason: RegExp,
  lie: (path: CachedPath) => Lie | Promise<Lie>,
  options?: CachedPathOptions & { readonly downloads?: number },
): Case<OpenSubstituter> {
  return {
    title: `refuses ${title}`,
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one', options)
        cache.add(path, await lie(path))
        await using substituter = open([cache.address])
        await assertRefused(substituter, path, code, reason)
        if (options?.downloads !== undefined) assert.equal(cache.narRequests, options.downloads)
      }),
  }
}

const soundCases: readonly Case<OpenSubstituter>[] = [
  ...COMPRESSIONS.map((compression) => ({
    title: `substitutes a NAR compressed with ${compression}`,
    run: (open: OpenSubstituter) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one', { compression })
        cache.add(path)
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
        assert.deepEqual(substituter.kept, [path.pathInfo.storePath.toString()])
      }),
  })),
  {
    title: 'keeps references, deriver and all signatures',
    run: (open) =>
      withCache(async (cache) => {
        const references = [makePathInfo('a').storePath, makePathInfo('b').storePath]
        const deriver = makePathInfo('c').storePath
        const keys = [makeSigningKey('stranger-1'), CACHE_KEY]
        const path = await makeCachedPath('one', { keys, changes: { references, deriver } })
        cache.add(path)
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
      }),
  },
  {
    title: 'downloads a path once, however many ask',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        cache.add(path)
        await using substituter = open([cache.address])
        await Promise.all(Array.from({ length: 8 }, () => assertSubstituted(substituter, path)))
        await assertSubstituted(substituter, path)
        assert.equal(cache.narRequests, 1)
        assert.equal(cache.requests.length, 3, cache.requests.join())
      }),
  },
  {
    title: 'reads compressed documents',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        cache.add(path)
        const document = zstdCompressSync(utf8(renderNarInfo(path.narInfo)))
        cache.files.set(`${encodeNixbase32(hashOf(path))}.narinfo`, (response) =>
          response.writeHead(200, { 'content-encoding': 'zstd' }).end(document),
        )
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
      }),
  },
  {
    title: 'takes a content-addressed path without a signature',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeContentAddressed()
        cache.add(path)
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
      }),
  },
  {
    title: 'takes what is not signed where no keys are named',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one', { keys: [] })
        cache.add(path)
        await using substituter = open([cache.address.replace(/\?.*/, '')])
        await assertSubstituted(substituter, path)
      }),
  },
  {
    title: 'goes on with a download whose connection breaks',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        let requests = 0
        cache.add(path, { file: servingRanges(path.file, () => ++requests === 1) })
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
        assert.equal(requests, 2)
      }),
  },
  {
    title: 'goes on where a redirect leads by then',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        let [redirects, downloads] = [0, 0]
        const served = servingRanges(path.file, () => ++downloads === 1)
        // As buckets hand out addresses, which are good for a while; these for once.
        const once: Answer = (response, request) => {
          cache.files.delete(`signed?by=${redirects}`)
          served(response, request)
        }
        cache.add(path, {
          file: (response) => {
            cache.files.set(`signed?by=${++redirects}`, once)
            response.writeHead(302, { location: `/cache/signed?by=${redirects}` }).end()
          },
        })
        await using substituter = open([cache.address])
        await assertSubstituted(substituter, path)
        assert.deepEqual([redirects, downloads], [2, 2])
      }),
  },
]

/** With ranges and an ETag, as web servers have them; breaks off halfway when `breaks` says so. */
function servingRanges(file: Uint8Array, breaks: () => boolean): Answer {
  return (response, { headers: { range } }) => {
    const offset = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
    const rest = file.subarray(offset)
    response.writeHead(range ? 206 : 200, {
      etag: '"strong"',
      'content-length': rest.length,
      ...(range && { 'content-range': `bytes ${offset}-${file.length - 1}/${file.length}` }),
    })
    if (!breaks()) response.end(rest)
    else response.write(rest.subarray(0, rest.length / 2), () => setImmediate(() => response.destroy()))
  }
}

async function makeContentAddressed(): Promise<CachedPath> {
  const { narInfo } = await makeCachedPath('one')
  return await makeCachedPath('one', {
    keys: [],
    changes: {
      storePath: narStorePath('one', narInfo.narSha256),
      ca: { kind: 'nar', algorithm: 'sha256', digest: narInfo.narSha256 },
    },
  })
}

const trustCases: readonly Case<OpenSubstituter>[] = [
  refusal('what nobody signed', 'corrupt', /it is not signed; trusted are cache\.test-1/, () => ({}), {
    keys: [],
    downloads: 0,
  }),
  refusal('what a stranger signed', 'corrupt', /signed by stranger-1; trusted are/, () => ({}), {
    keys: [makeSigningKey('stranger-1')],
    downloads: 0,
  }),
  refusal('another key of a trusted name', 'corrupt', /no valid signature/, () => ({}), {
    keys: [makeSigningKey('cache.test-1', 'impostor')],
    downloads: 0,
  }),
  refusal(
    'references that were not signed',
    'corrupt',
    /no valid signature/,
    () => ({ narInfo: { references: [makePathInfo('two').storePath] } }),
    { downloads: 0 },
  ),
  refusal(
    'a NAR hash that was not signed',
    'corrupt',
    /no valid signature/,
    () => ({ narInfo: { narSha256: Buffer.alloc(32) } }),
    { downloads: 0 },
  ),
  refusal('a content address that the contents do not have', 'corrupt', /content address/, () => ({}), {
    keys: [],
    changes: { ca: { kind: 'nar', algorithm: 'sha256', digest: Buffer.alloc(32, 1) } },
  }),
]

/** A narinfo with these lines in the place of those of the same names. */
const withLines =
  (...lines: string[]) =>
  ({ narInfo }: CachedPath) => {
    const names = lines.map((line) => line.split(':')[0])
    const kept = renderNarInfo(narInfo)
      .split('\n')
      .filter((line) => line && !names.includes(line.split(':')[0]))
    return { narInfo: `${[...kept, ...lines].join('\n')}\n` }
  }

const documentCases: readonly Case<OpenSubstituter>[] = [
  refusal(
    'the narinfo of another path',
    'corrupt',
    /asked for .*, it answered with the narinfo of .*-path-two/,
    () => ({ narInfo: { storePath: makePathInfo('two').storePath } }),
    { downloads: 0 },
  ),
  refusal('a path outside the store', 'corrupt', /StorePath/, withLines('StorePath: /etc/passwd'), {
    downloads: 0,
  }),
  refusal(
    'a key that is there twice',
    'corrupt',
    /NarSize is there twice/,
    withLines('NarSize: 1', 'NarSize: 1'),
  ),
  refusal('a line without a key', 'corrupt', /no colon and space/, withLines('what is this')),
  refusal('a page of HTML', 'corrupt', /narinfo/, () => ({ narInfo: '<html>Please log in</html>\n' })),
  refusal('an empty answer', 'corrupt', /StorePath is missing/, () => ({ narInfo: '' })),
  refusal('a negative size', 'corrupt', /NarSize "-1" is not a number/, withLines('NarSize: -1')),
  refusal('a size of nothing', 'corrupt', /no NAR has 0 bytes/, withLines('NarSize: 0')),
  refusal(
    'a size of 2^63',
    'corrupt',
    /no NAR has 9223372036854775808 bytes/,
    withLines(`NarSize: ${2n ** 63n}`),
  ),
  refusal('a narinfo of 10 MB', 'corrupt', /longer than 2097152 bytes/, () => ({
    narInfo: `${'X: y\n'.repeat(2_000_000)}`,
  })),
  refusal(
    'a URL that leaves the web',
    'corrupt',
    /said to be at "file:/,
    withLines('URL: file:///etc/passwd'),
  ),
  refusal('a URL that leads nowhere', 'unavailable', /HTTP status 404/, withLines('URL: ../../etc/passwd')),
  refusal(
    'an unknown compression',
    'unimplemented',
    /compressed with lzip; there are none, xz/,
    withLines('Compression: lzip'),
  ),
]

/** Flips a bit of the contents, and not of the framing. */
const tampered = (bytes: Uint8Array) => {
  const other = Buffer.from(bytes)
  other[other.length >> 1]! ^= 1
  return other
}
/** Nothing but the NAR's own hash is left to notice with. */
const UNHASHED: Partial<NarInfo> = { fileHash: undefined, fileSize: undefined }

const narCases: readonly Case<OpenSubstituter>[] = [
  refusal('a NAR with another bit', 'corrupt', /NarHash is/, ({ file }) => ({
    narInfo: UNHASHED,
    file: tampered(file),
  })),
  refusal(
    'a file with another bit',
    'corrupt',
    /not its FileHash/,
    ({ file }) => ({ file: tampered(file) }),
    {
      downloads: 1,
    },
  ),
  refusal('the NAR of another path', 'corrupt', /NarHash is|NarSize is|more comes out/, async () => ({
    narInfo: UNHASHED,
    file: (await makeCachedPath('two')).file,
  })),
  refusal('a NAR that ends early', 'corrupt', /the NAR of .*, from http/, ({ file }) => ({
    narInfo: UNHASHED,
    file: file.subarray(0, -8),
  })),
  refusal('a file that ends early', 'corrupt', /and not its FileSize|ends/, ({ file }) => ({
    file: file.subarray(0, -8),
  })),
  refusal('a file that goes on', 'corrupt', /longer than its FileSize/, ({ file }) => ({
    file: concatBytes([file, utf8('more')]),
  })),
  refusal('bytes behind the NAR', 'corrupt', /declared|more follows/, ({ file }) => ({
    narInfo: UNHASHED,
    file: concatBytes([file, utf8('12345678')]),
  })),
  refusal('a NAR larger than its NarSize', 'corrupt', /bytes declared/, signedWith({ narSize: 1_000n })),
  refusal(
    'a NAR smaller than its NarSize',
    'corrupt',
    /NarSize is 1000000, but/,
    signedWith({ narSize: 1_000_000n }),
  ),
  refusal('a NAR with another NarHash', 'corrupt', /NarHash is/, signedWith({ narSha256: Buffer.alloc(32) })),
  refusal('what is not compressed as it says', 'corrupt', /cannot be decompressed/, ({ nar }) => ({
    narInfo: { ...UNHASHED, compression: 'zstd' },
    file: nar,
  })),
  refusal(
    'a bomb',
    'corrupt',
    /bytes declared/,
    () => ({ narInfo: UNHASHED, file: zstdCompressSync(Buffer.alloc(256 * 1024 * 1024)) }),
    { compression: 'zstd' },
  ),
  refusal('a NAR that is not there', 'unavailable', /HTTP status 404/, () => ({
    file: (response) => response.writeHead(404).end(),
  })),
  refusal('a body that breaks off', 'unavailable', /the NAR of/, ({ file }) => ({
    file: (response) => {
      response.writeHead(200, { 'content-length': file.length })
      response.write(file.subarray(0, 1000), () => setImmediate(() => response.destroy()))
    },
  })),
  refusal('a second half of another file', 'corrupt', /NarHash is/, ({ file }) => {
    let requests = 0
    const breaks = () => ++requests % 2 === 1
    const other = tampered(
      file.map((byte, index) => (index > file.length * 0.6 && index < file.length * 0.7 ? byte ^ 1 : byte)),
    )
    return {
      narInfo: UNHASHED,
      file: (response, request) =>
        servingRanges(request.headers.range ? other : file, breaks)(response, request),
    }
  }),
  refusal('a redirect that never ends', 'corrupt', /redirects/, () => ({
    file: (response, { url }) => response.writeHead(302, { location: url! }).end(),
  })),
]

/** A lie that the key of the cache has signed. */
function signedWith(lie: Partial<NarInfo>): (path: CachedPath) => Lie {
  return ({ pathInfo }) => {
    const { signatures } = signed({ ...pathInfo, ...(lie as object) }, [CACHE_KEY])
    return { narInfo: { ...lie, signatures } }
  }
}

const absenceCases: readonly Case<OpenSubstituter>[] = [
  ...[403, 404, 410].map((status) => ({
    title: `knows that ${status} is absence, and remembers it for a while`,
    run: (open: OpenSubstituter) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        cache.files.set(`${encodeNixbase32(hashOf(path))}.narinfo`, (response) =>
          response.writeHead(status).end(),
        )
        await using substituter = open([cache.address])
        assert.equal(await substituter.pathInfos.get(hashOf(path)), undefined)
        assert.equal(await substituter.pathInfos.get(hashOf(path)), undefined)
        assert.equal(cache.requests.length, 2)
      }),
  })),
  {
    title: 'finds what was absent a while ago',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        await using substituter = open([cache.address], { absentMs: 5 })
        assert.equal(await substituter.pathInfos.get(hashOf(path)), undefined)
        cache.add(path)
        await until(async () => (await substituter.pathInfos.get(hashOf(path))) !== undefined)
        await assertSubstituted(substituter, path)
      }),
  },
  ...[401, 429, 500, 502, 503].map((status) => ({
    title: `does not take ${status} for absence`,
    run: (open: OpenSubstituter) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        cache.files.set(`${encodeNixbase32(hashOf(path))}.narinfo`, (response) =>
          response.writeHead(status).end(),
        )
        await using substituter = open([cache.address])
        const code = status === 401 ? 'denied' : 'unavailable'
        await assertRefused(substituter, path, code, new RegExp(`HTTP status ${status}`))
      }),
  })),
  {
    title: 'does not wait for a cache that drips',
    run: (open) =>
      withCache(async (cache) => {
        const path = await makeCachedPath('one')
        cache.add(path, {
          file: (response) => {
            response.writeHead(200)
            const drip = setInterval(() => response.write(path.file.subarray(0, 1)), 5)
            response.on('close', () => clearInterval(drip))
          },
        })
        await using substituter = open([cache.address], { policy: { silenceMsMax: 50 } })
        await assertRefused(substituter, path, 'deadline', /only \d+ bytes within 0\.05 s/)
      }),
  },
]

const severalCases: readonly Case<OpenSubstituter>[] = [
  {
    title: 'asks the cache with the lowest priority first',
    run: async (open) => {
      await using last = await startTestCache('Priority: 50\n')
      await using first = await startTestCache('StoreDir: /nix/store\nPriority: 10\n')
      const path = await makeCachedPath('one')
      for (const cache of [last, first]) cache.add(path)
      await using substituter = open([last.address, first.address])
      await assertSubstituted(substituter, path)
      assert.deepEqual([last.narRequests, first.narRequests], [0, 1])
    },
  },
  ...(['down', 'lying', 'of another store'] as const).map((how) => ({
    title: `passes over a cache that is ${how}`,
    run: async (open: OpenSubstituter) => {
      await using bad = await startTestCache(
        how === 'of another store' ? 'StoreDir: /gnu/store\n' : 'Priority: 1\n',
      )
      await using good = await startTestCache()
      const path = await makeCachedPath('one')
      bad.add(path, { file: tampered(path.file) })
      good.add(path)
      if (how === 'down') bad.files.set('nix-cache-info', (response) => response.writeHead(503).end())
      await using substituter = open([bad.address, good.address])
      await assertSubstituted(substituter, path)
    },
  })),
  {
    title: 'knows of absence only when every cache has answered',
    run: async (open) => {
      await using down = await startTestCache()
      await using up = await startTestCache()
      const path = await makeCachedPath('one')
      down.files.set('nix-cache-info', (response) => response.writeHead(503).end())
      await using substituter = open([down.address, up.address])
      await assertRefused(substituter, path, 'unavailable', /HTTP status 503/)
    },
  },
  {
    title: 'tells what was wrong with each of them',
    run: async (open) => {
      await using one = await startTestCache()
      await using two = await startTestCache('StoreDir: /gnu/store\n')
      const path = await makeCachedPath('one')
      one.add(path, { file: tampered(path.file) })
      await using substituter = open([one.address, two.address])
      await assertRefused(substituter, path, 'precondition', /paths are below \/gnu\/store.*; .*FileHash/)
    },
  },
]

/** A path whose NAR stays halfway until `finish` is called. */
async function addSlow(
  cache: TestCache,
): Promise<{ path: CachedPath; begun: Promise<void>; finish: () => void }> {
  const path = await makeCachedPath('one')
  const half = path.file.length >> 1
  const begun = Promise.withResolvers<void>()
  const rest = Promise.withResolvers<void>()
  cache.add(path, {
    async file(response) {
      response.writeHead(200, { 'content-length': path.file.length }).write(path.file.subarray(0, half))
      begun.resolve()
      await rest.promise
      response.end(path.file.subarray(half))
    },
  })
  return { path, begun: begun.promise, finish: rest.resolve }
}

const patienceCases: readonly Case<OpenSubstituter>[] = [
  {
    title: 'goes on when its caller has left, and says so',
    run: (open) =>
      withCache(async (cache) => {
        const { path, begun, finish } = await addSlow(cache)
        await using substituter = open([cache.address])
        const controller = new AbortController()
        const left = substituter.pathInfos.get(hashOf(path), { signal: controller.signal })
        await begun
        controller.abort(new StoreError('deadline', 'no patience'))
        await assert.rejects(left, { code: 'deadline', message: /the rest goes on to come: ask again later/ })
        finish()
        await assertSubstituted(substituter, path)
        assert.equal(cache.narRequests, 1)
      }),
  },
  {
    title: 'ends what goes on when it is closed',
    run: (open) =>
      withCache(async (cache) => {
        const { path, begun } = await addSlow(cache)
        const substituter = open([cache.address])
        const got = substituter.pathInfos.get(hashOf(path))
        got.catch(() => {})
        await begun
        await substituter[Symbol.asyncDispose]()
        await assert.rejects(got, { code: 'cancelled' })
        assert.deepEqual(substituter.kept, [])
      }),
  },
  {
    title: 'asks nothing for those who have left already',
    run: (open) =>
      withCache(async (cache) => {
        await using substituter = open([cache.address])
        const left = { signal: AbortSignal.abort(new StoreError('cancelled', 'left')) }
        await assert.rejects(substituter.pathInfos.get(Buffer.alloc(20), left), { code: 'cancelled' })
        assert.deepEqual(cache.requests, [])
      }),
  },
  {
    title: 'can neither be written nor listed',
    run: (open) =>
      withCache(async (cache) => {
        await using substituter = open([cache.address])
        await assert.rejects(substituter.pathInfos.put(makePathInfo('one')), { code: 'unimplemented' })
        await assert.rejects(collect(substituter.pathInfos.list()), { code: 'unimplemented' })
      }),
  },
]

const castoreCases: readonly Case<OpenSubstituter>[] = [
  {
    title: 'copies contents from the castore beside a nar-bridge',
    run: (open) =>
      withCache(async (cache) => {
        const path = asBridgePath(await makeCachedPath('one'))
        cache.add(path)
        await using substituter = open([cache.address], { beside: path.castore })
        await assertSubstituted(substituter, path)
        assert.deepEqual([substituter.asksBeside, cache.narRequests], [1, 0])
      }),
  },
  {
    title: 'leaves the castore alone when it is told to',
    run: (open) =>
      withCache(async (cache) => {
        const path = asBridgePath(await makeCachedPath('one'))
        cache.add(path)
        await using substituter = open([`${cache.address}&force_download_nar=true`], { beside: path.castore })
        await assertSubstituted(substituter, path)
        assert.deepEqual([substituter.asksBeside, cache.narRequests], [0, 1])
      }),
  },
  {
    title: 'downloads the NAR when there is no castore, and asks for none for a while',
    run: (open) =>
      withCache(async (cache) => {
        await using substituter = open([cache.address])
        for (const label of ['one', 'two']) {
          const path = asBridgePath(await makeCachedPath(label))
          cache.add(path)
          await assertSubstituted(substituter, path)
        }
        assert.deepEqual([substituter.asksBeside, cache.narRequests], [1, 2])
      }),
  },
  ...(['lacks something', 'has another tree'] as const).map((how) => ({
    title: `downloads the NAR when the castore ${how}`,
    run: (open: OpenSubstituter) =>
      withCache(async (cache) => {
        const [one, two] = [await makeCachedPath('one'), await makeCachedPath('two')]
        const path = how === 'has another tree' ? asBridgePath(one, two.pathInfo.node) : asBridgePath(one)
        cache.add(path, { file: one.nar })
        await using substituter = open([cache.address], { beside: two.castore })
        await assertSubstituted(substituter, path)
        assert.deepEqual([substituter.asksBeside, cache.narRequests], [1, 1])
      }),
  })),
  {
    title: 'refuses a tree that is not the NAR, when there is no other',
    run: (open) =>
      withCache(async (cache) => {
        const [one, two] = [await makeCachedPath('one'), await makeCachedPath('two')]
        const path = asBridgePath(one, two.pathInfo.node)
        cache.add(path, { file: (response) => response.writeHead(404).end() })
        await using substituter = open([cache.address], { beside: two.castore })
        await assertRefused(substituter, path, 'unavailable', /HTTP status 404/)
      }),
  },
]

export const substitutionCases: readonly Case<OpenSubstituter>[] = [
  ...soundCases,
  ...trustCases,
  ...documentCases,
  ...narCases,
  ...absenceCases,
  ...severalCases,
  ...patienceCases,
  ...castoreCases,
]
