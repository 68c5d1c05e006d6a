import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pathComponentFault } from '../../../../../src/model/castore/path-component.ts'
import { StorePath } from '../../../../../src/model/nix/store-path.ts'
import { decodeName, encodeName, Links } from '../../../../../src/servers/http/pages/links.ts'
import { parseRoute } from '../../../../../src/servers/http/pages/route.ts'
import { utf8 } from '../../../../../src/support/bytes.ts'

const STORE_PATH = StorePath.parse('00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12+dev?x=1')
const component = fc.uint8Array({ minLength: 1, maxLength: 12 }).filter((bytes) => !pathComponentFault(bytes))

test('every name goes through a URL and back, whatever its bytes', () => {
  fc.assert(
    fc.property(fc.array(component, { maxLength: 4 }), fc.constantFrom('path', 'raw'), (inner, kind) => {
      const links = new Links('/closure/x')
      const href = kind === 'path' ? links.path(STORE_PATH, inner) : links.raw(STORE_PATH, inner)
      // As a browser reads a link.
      const url = new URL(href, 'http://host/closure/x')
      const route = parseRoute(url.pathname, url.searchParams)
      expect(route).toMatchObject({ kind, page: 1 })
      expect(route?.kind === kind && route.storePath.toString()).toBe(STORE_PATH.toString())
      expect(route?.kind === kind && route.inner.map((name) => [...name])).toEqual(
        inner.map((name) => [...name]),
      )
    }),
  )
})

test.each([
  ['/', './'],
  ['/search', './'],
  ['/path/x', '../'],
  ['/path/x/bin/', '../../../'],
])('from %s the top is %s', (path, root) => expect(new Links(path).root).toBe(root))

test('links stay below the prefix of a proxy', () => {
  const below = new URL(new Links('/path/x/y').path(STORE_PATH), 'http://host/cache/path/x/y')
  expect(below.pathname).toBe('/cache/path/00bgd045z0d4icpbc2yyz4gx48ak44la-hello-2.12%2Bdev%3Fx%3D1')
})

test('what is searched for and the page travel in the query', () => {
  const links = new Links('/path/x')
  expect(links.overview()).toBe('../')
  expect(links.overview(2)).toBe('../?page=2')
  expect(links.overview(3, 'a&b c')).toBe('../search?q=a%26b+c&page=3')
})

test.each(['%', '%2', '%zz', 'a%g0'])('%s is no name', (segment) =>
  expect(decodeName(segment)).toBeUndefined(),
)

test('characters with a meaning in URLs are encoded', () =>
  expect(encodeName(utf8('a b/?#%ä'))).toBe('a%20b%2F%3F%23%25%C3%A4'))
