/** The handler of the pages: what it answers, and what no name in a store can make it say. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { PathInfo } from '../../../../../src/model/nix/path-info.ts'
import type { HttpReply, HttpRequest } from '../../../../../src/servers/http/exchange.ts'
import { encodeName } from '../../../../../src/servers/http/pages/links.ts'
import { createPages, type Pages } from '../../../../../src/servers/http/pages/pages.ts'
import { concatBytes, printable, utf8, view } from '../../../../../src/support/bytes.ts'
import { StoreError } from '../../../../../src/support/errors.ts'
import { PAGES_ENTRIES, PAGES_ROWS, PAGES_TEXT_BYTES_MAX } from '../../../../../src/support/limits.ts'
import { silentLogger } from '../../../../../src/support/log.ts'
import { collect } from '../../../../support/collect.ts'
import { directoryNode, fileNode, makeDirectory, symlinkNode } from '../../../../support/directories.ts'
import {
  emptyServices,
  HOSTILE_NAMES,
  type SampleStore,
  sampleStore,
} from '../../../../support/pages-store.ts'
import { makePathInfo } from '../../../../support/path-infos.ts'

let store: SampleStore
let pages: Pages
beforeAll(async () => {
  store = await sampleStore(250)
  pages = createPages({ ...store.parts, logger: silentLogger })
})
afterAll(() => pages.close())

function requestFor(target: string, changes: Partial<HttpRequest> = {}): HttpRequest {
  const [path, query = ''] = target.split(/\?(.*)/s) as [string, string?]
  return {
    method: 'GET',
    path,
    query: new URLSearchParams(query),
    headers: { accept: 'text/html,*/*;q=0.8', host: 'cache.example.org:9000' },
    permissions: new Set(['read', 'list'] as const),
    body: (async function* () {})(),
    signal: new AbortController().signal,
    ...changes,
  }
}

const UNLISTED = { permissions: new Set(['read'] as const) }

async function ask(target: string, changes?: Partial<HttpRequest>, from = pages): Promise<HttpReply> {
  const reply = await from.handle(requestFor(target, changes))
  if (!reply) throw new Error(`${target} is no page`)
  return reply
}

async function bytesOf(reply: HttpReply, range?: { start: number; end: number }): Promise<Buffer> {
  return view(concatBytes(await collect(reply.content!.read(range))))
}

async function textOf(target: string, changes?: Partial<HttpRequest>, from = pages): Promise<string> {
  return (await bytesOf(await ask(target, changes, from))).toString('utf8')
}

const rich = (inner = '') => `${store.rich.storePath}${inner}`

describe('the overview', () => {
  test('tells how much is here and lists it by name, a page at a time', async () => {
    const text = await textOf('/')
    expect(text).toContain('<h1>252 store paths</h1>')
    const names = [...text.matchAll(/<a href="\.\/path\/[^"]+">([^<]+)</g)].map((hit) => hit[1]!)
    expect(names).toHaveLength(PAGES_ROWS)
    expect(names).toEqual(names.toSorted())
    expect(text).toContain('Page 1 of 3')
    expect(await textOf('/?page=3')).toContain('rel="prev"')
    expect(await textOf('/?page=999')).toContain('Page 3 of 3')
  })

  test('is only for those who want HTML', async () => {
    for (const accept of ['*/*', 'application/json', undefined])
      expect(await pages.handle(requestFor('/', { headers: { accept } }))).toBeUndefined()
  })

  test('an empty store says how to fill it', async () => {
    const empty = createPages({ ...emptyServices(), logger: silentLogger })
    const text = await textOf('/', {}, empty)
    expect(text).toContain('Nothing here yet')
    expect(text).toContain('tvix-store import')
    expect(text).toContain("nix copy --to 'http://cache.example.org:9000'")
  })

  test('searching goes by words in the name', async () => {
    const text = await textOf('/search?q=GIT+-dev')
    const names = [...text.matchAll(/<a href="\.\/path\/[^"]+">([^<]+)</g)].map((hit) => hit[1]!)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) expect(name).toMatch(/git.*-dev/)
    expect(text).toContain('value="GIT -dev"')
    expect(await textOf('/search?q=no-such-thing')).toContain('No path for “no-such-thing”')
  })

  test.each([
    ['a store path', (path: PathInfo) => path.storePath.absolutePath, './path/BASENAME'],
    [
      'a place inside of one',
      (path: PathInfo) => `${path.storePath.absolutePath}/bin/hello`,
      './path/BASENAME/bin/hello',
    ],
    ['a basename', (path: PathInfo) => path.storePath.toString(), './path/BASENAME'],
    ['a hash', (path: PathInfo) => path.storePath.toString().slice(0, 32), './path/BASENAME'],
  ])('searching for %s leads there, on listeners that do not list as well', async (_, query, location) => {
    const target = `/search?q=${encodeURIComponent(query(store.rich))}`
    for (const changes of [{}, UNLISTED]) {
      const reply = await ask(target, changes)
      expect([reply.status, reply.headers?.['location']]).toEqual([302, location.replace('BASENAME', rich())])
    }
  })

  test('a hash that nobody has is not found', async () => {
    expect((await ask(`/search?q=${'0'.repeat(32)}`)).status).toBe(404)
  })
})

describe('a listener that does not list', () => {
  test.each(['/', '/?page=2', '/search?q=hello', '/search?q=a'])('%s tells of no path', async (target) => {
    const text = await textOf(target, UNLISTED)
    expect(text).toContain('not listed here')
    expect(text).not.toMatch(/href="\.\/path\//)
    expect(text).not.toContain('252')
  })

  test('whoever knows a path gets its page, its files and its closure', async () => {
    for (const target of [
      `/path/${rich()}`,
      `/path/${rich('/bin')}`,
      `/raw/${rich('/bin/hello')}`,
      `/closure/${rich()}`,
    ])
      expect((await ask(target, UNLISTED)).status).toBe(200)
  })
})

describe('a store path', () => {
  test('has all that is known of it', async () => {
    const text = await textOf(`/path/${rich()}`)
    for (const part of [
      store.rich.storePath.absolutePath,
      `${store.rich.narSize.toLocaleString('en')} bytes`,
      'sha256:',
      'cache.example.org-1:',
      `${store.rich.deriver!.absolutePath}.drv`,
      `href="../${rich().slice(0, 32)}.narinfo"`,
      `href="../nar/tvix-castore/`,
      'nix-store -r &#39;/nix/store/',
      'http://cache.example.org:9000',
      '>bin/</a>',
    ])
      expect(text).toContain(part)
    for (const reference of store.rich.references)
      expect(text).toContain(`href="../path/${encodeName(utf8(`${reference}`))}"`)
  })

  test('the command names the keys that sign here', async () => {
    const signed = createPages({ ...store.parts, logger: silentLogger, publicKeys: ['k-1:AAAA', 'k-2:BBBB'] })
    const text = await textOf(`/path/${rich()}`, {}, signed)
    expect(text).toContain("--option trusted-public-keys 'k-1:AAAA k-2:BBBB'")
    expect(text).not.toContain('require-sigs')
  })

  test.each(["evil'; rm -rf ~; '", '$(id)', 'a b', 'host:99:1', ''])(
    'the host %j gets into no command',
    async (host) => {
      const text = await textOf(`/path/${rich()}`, { headers: { host, accept: 'text/html' } })
      expect(text).toContain('--option substituters &#39;http://…&#39;')
    },
  )

  test('the closure is counted, and listed on a page of its own', async () => {
    const text = await textOf(`/closure/${rich()}`)
    const listed = text.match(/<tr><th scope="row">/g)!.length
    expect(text).toContain(`<p>${listed} paths, `)
    expect(await textOf(`/path/${rich()}`)).toContain(`${listed} paths, `)
  })

  test('directories show sizes, modes and where symlinks lead', async () => {
    const bin = await textOf(`/path/${rich('/bin')}`)
    expect(bin).toContain('64.0 KiB')
    expect(bin).toContain('-r-xr-xr-x')
    expect(bin).toContain(`hi → <a href="../../path/${rich('/bin/hello')}">hello</a>`)
    const lib = await textOf(`/path/${rich('/lib')}`)
    expect(lib).toContain('hosts → /etc/hosts')
    expect(lib).toMatch(/bash → <a href="\.\.\/\.\.\/path\/[^"]+-bash-1\.0\.0\/share">/)
    expect(await textOf(`/path/${rich('/lib/empty')}`)).toContain('An empty directory.')
  })

  test('a symlink in the way is followed, of a file too', async () => {
    const locations = [`/path/${rich('/lib/doc/hello/README')}`, `/raw/${rich('/bin/hi')}`].map(
      async (target) => (await ask(target)).headers?.['location'],
    )
    expect(await Promise.all(locations)).toEqual([
      `../../../../../path/${rich('/share/doc/hello/README')}`,
      `../../../raw/${rich('/bin/hello')}`,
    ])
    expect((await ask(`/path/${rich('/lib/hosts/x')}`)).status).toBe(404)
  })

  test('text is shown, other contents are offered', async () => {
    const text = await textOf(`/path/${rich('/share/doc/hello/README')}`)
    expect(text).toContain('If a &amp; b &lt; c, say &quot;hello&quot; &amp; &#39;hello&#39;.')
    const binary = await textOf(`/path/${rich('/bin/hello')}`)
    expect(binary).toContain('No text')
    expect(binary).toContain(`href="../../../raw/${rich('/bin/hello')}"`)
  })
})

describe('what is not there', () => {
  test.each([
    ['a path that nobody has', () => `/path/${makePathInfo('nobody').storePath}`, 'There is no'],
    ['another name for a hash', () => `/path/${rich().slice(0, 33)}goodbye`, 'The path of that hash is'],
    ['a file that is not in it', () => `/path/${rich('/bin/nope')}`, 'there is no'],
    ['a raw file of it', () => `/raw/${rich('/bin/nope')}`, 'there is no'],
    ['no store path', () => '/path/hello', 'is no page here'],
    ['something below a closure', () => `/closure/${rich('/bin')}`, 'is no page here'],
  ])('%s', async (_, target, explanation) => {
    const reply = await ask(target())
    expect(reply.status).toBe(404)
    expect((await bytesOf(reply)).toString()).toContain(explanation)
  })

  test('addresses of others are left to them, and there is a page for what is nobody’s', async () => {
    expect(await pages.handle(requestFor('/nix-cache-info'))).toBeUndefined()
    const reply = pages.notFound(requestFor('/a/<b>'))
    expect(reply.status).toBe(404)
    expect((await bytesOf(reply)).toString()).toContain('/a/&lt;b&gt;')
  })

  test('only GET and HEAD', async () => {
    for (const method of ['POST', 'PUT', 'DELETE'])
      expect(await ask('/', { method })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
  })
})

describe('what the store cannot tell', () => {
  const failing = (failure: StoreError) =>
    createPages({
      ...store.parts,
      pathInfos: {
        get: () => Promise.reject(failure),
        put: (info) => Promise.resolve(info),
        // biome-ignore lint/correctness/useYield: it fails before the first
        async *list() {
          throw failure
        },
      },
      logger: silentLogger,
    })

  test.each(['/', '/search?q=hello', '/path/'])('%s: a store that is away is no absence', async (place) => {
    const target = place === '/path/' ? `/path/${rich()}` : place
    const reply = await ask(target, {}, failing(new StoreError('unavailable', 'the <database> is away')))
    expect([reply.status, reply.headers?.['retry-after']]).toEqual([503, '5'])
    expect((await bytesOf(reply)).toString()).toContain('the &lt;database&gt; is away')
  })

  test('what nobody foresaw is not told to strangers', async () => {
    const text = await textOf('/', {}, failing(new StoreError('internal', '/secret/file.ts:7')))
    expect(text).not.toContain('secret')
  })

  test('a missing blob or directory is an error that names it', async () => {
    const parts = emptyServices()
    const lost = makeDirectory({ x: fileNode('x') })
    const top = makeDirectory({ file: fileNode('lost'), sub: directoryNode(lost) })
    await parts.directories.put(lost)
    await parts.directories.put(top)
    const { storePath } = await parts.pathInfos.put(makePathInfo('a', { node: directoryNode(top) }))
    const other = { ...parts, directories: emptyServices().directories }
    const noBlobs = createPages({ ...parts, logger: silentLogger })
    const noDirectories = createPages({ ...other, logger: silentLogger })
    const file = await ask(`/path/${storePath}/file`, {}, noBlobs)
    const directory = await ask(`/path/${storePath}`, {}, noDirectories)
    expect([file.status, directory.status]).toEqual([502, 502])
    expect((await bytesOf(directory)).toString()).toContain(top.digest.toString())
  })
})

describe('files to save', () => {
  test('come with headers that keep a browser from showing them', async () => {
    const reply = await ask(`/raw/${rich('/bin/hello')}`)
    expect(reply.headers).toEqual({
      'content-disposition': `attachment; filename="hello"; filename*=UTF-8''hello`,
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff',
    })
    expect(reply.content).toMatchObject({ type: 'application/octet-stream', size: 65_536, hasRanges: true })
    const whole = await bytesOf(reply)
    expect(whole).toHaveLength(65_536)
    expect(await bytesOf(reply, { start: 100, end: 40_000 })).toEqual(whole.subarray(100, 40_000))
  })

  test.each([
    ['page.html', 'application/octet-stream'],
    ['image.svg', 'application/octet-stream'],
    ['script.js', 'application/octet-stream'],
    ['constructor', 'application/octet-stream'],
    ['x.constructor', 'application/octet-stream'],
    ['README.TXT', 'text/plain; charset=utf-8'],
    ['a.b.png', 'image/png'],
  ])('%s is %s', async (name, type) => {
    const parts = emptyServices()
    const directory = makeDirectory({ [name]: fileNode('') })
    await parts.directories.put(directory)
    const { storePath } = await parts.pathInfos.put(makePathInfo('a', { node: directoryNode(directory) }))
    const reply = await ask(`/raw/${storePath}/${name}`, {}, createPages({ ...parts, logger: silentLogger }))
    expect(reply.content!.type).toBe(type)
  })

  test('every hostile name makes a header that is one line of ASCII', async () => {
    for (const name of HOSTILE_NAMES) {
      const reply = await ask(`/raw/${store.hostile.storePath}/${encodeName(name)}`)
      expect(reply.headers!['content-disposition']).toMatch(
        /^attachment; filename="[A-Za-z0-9 ._+=@,-]+"(; filename\*=UTF-8''[A-Za-z0-9._~%-]+)?$/,
      )
    }
  })

  test('a directory is no file to save', async () =>
    expect(await ask(`/raw/${rich('/bin')}`)).toMatchObject({ status: 302 }))
})

const TAGS = new Set(
  'html head meta title body header a form input button main h1 h2 p span code pre table caption thead tbody tr th td nav dl dt dd div ul li footer'.split(
    ' ',
  ),
)
const ATTRIBUTES = new Set(
  'lang charset name content class href action role type value placeholder aria-label aria-current scope rel download tabindex'.split(
    ' ',
  ),
)

/** Whether there is markup that our templates do not have, or a link that leads away. */
function isBroken(page: string): boolean {
  const markup = page.replace(/^<!doctype html>/, '').replace(/<style>[^<]*<\/style>/, '')
  return markup
    .split('<')
    .slice(1)
    .some((piece) => {
      const [whole, tag, attributes] = /^\/?([a-z0-9]+)((?: [a-z-]+(?:="[^"<>]*")?)*)>/.exec(piece) ?? []
      if (whole === undefined || !TAGS.has(tag!)) return true
      return [...attributes!.matchAll(/ ([a-z-]+)(?:="([^"]*)")?/g)].some(
        ([, name, value]) => !ATTRIBUTES.has(name!) || (name === 'href' && !/^\.\.?\//.test(value!)),
      )
    })
}

describe('names are strangers’ input', () => {
  test('the check itself sees a page that is broken', () => {
    for (const page of [
      '<script>',
      '<p class="" onclick="x">',
      "<a href='./x'>",
      '<IMG SRC=x>',
      '<a href="javascript:x">',
      'a < b',
    ])
      expect(isBroken(page)).toBe(true)
  })

  test('no name gets out of the text that it stands in', async () => {
    const directory = await textOf(`/path/${store.hostile.storePath}`)
    expect(isBroken(directory)).toBe(false)
    for (const name of HOSTILE_NAMES) {
      expect(directory).toContain(`/path/${store.hostile.storePath}/${encodeName(name)}"`)
      const target = `/path/${store.hostile.storePath}/${encodeName(name)}`
      const reply = await ask(target)
      const page = (await bytesOf(reply)).toString()
      expect([reply.status, isBroken(page)], printable(name)).toEqual([200, false])
      expect(page).toContain('&lt;script&gt;document.title=')
    }
  })

  test('nor does a search, a path that is not there or a place that is not in it', async () => {
    const evil = encodeURIComponent('"><script>alert(1)</script>')
    for (const target of [
      `/search?q=${evil}`,
      `/path/${evil}`,
      `/path/${rich()}/${evil}`,
      `/search?q=${evil}&page=2`,
    ])
      expect(isBroken(await textOf(target))).toBe(false)
  })

  test('every page forbids what it does not need', async () => {
    for (const target of ['/', '/search?q=x', `/path/${rich()}`, '/path/nope']) {
      const { headers } = await ask(target)
      expect(headers!['content-security-policy']).toMatch(
        /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'/,
      )
      expect(headers!['x-content-type-options']).toBe('nosniff')
    }
  })
})

describe('limits', () => {
  async function storeWith(node: PathInfo['node'], ...directories: ReturnType<typeof makeDirectory>[]) {
    const parts = emptyServices()
    for (const directory of directories) await parts.directories.put(directory)
    const { storePath } = await parts.pathInfos.put(makePathInfo('a', { node }))
    return { parts, storePath, pages: createPages({ ...parts, logger: silentLogger }) }
  }

  async function putBlob(blobs: SampleStore['parts']['blobs'], text: string): Promise<void> {
    const writer = blobs.openWrite()
    await writer.write(utf8(text))
    await writer.close()
  }

  test('a directory comes in pages', async () => {
    const count = PAGES_ENTRIES + 5
    const names = Array.from(
      { length: count },
      (_, i) => [`f${String(i).padStart(5, '0')}`, symlinkNode('x')] as const,
    )
    const directory = makeDirectory(Object.fromEntries(names))
    const { pages: site, storePath } = await storeWith(directoryNode(directory), directory)
    const first = await textOf(`/path/${storePath}`, {}, site)
    expect(first).toContain('1,005 entries')
    expect(first.match(/ → /g)).toHaveLength(PAGES_ENTRIES)
    expect(first).toContain(`href="../path/${storePath}?page=2"`)
    expect((await textOf(`/path/${storePath}?page=2`, {}, site)).match(/ → /g)).toHaveLength(5)
  })

  test('text is shown up to its limit', async () => {
    for (const [length, isShown] of [
      [PAGES_TEXT_BYTES_MAX, true],
      [PAGES_TEXT_BYTES_MAX + 1, false],
    ] as const) {
      const text = 'x'.repeat(length)
      const { parts, pages: site, storePath } = await storeWith(fileNode(text))
      await putBlob(parts.blobs, text)
      expect((await textOf(`/path/${storePath}`, {}, site)).includes('xxxxxxxxxx')).toBe(isShown)
    }
  })

  test('a change of direction in a text is told', async () => {
    const { parts, pages: site, storePath } = await storeWith(fileNode('a\u202eb'))
    await putBlob(parts.blobs, 'a\u202eb')
    expect(await textOf(`/path/${storePath}`, {}, site)).toContain('a[U+202E]b')
  })
})
