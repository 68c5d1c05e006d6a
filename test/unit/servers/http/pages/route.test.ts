import { expect, test } from 'vitest'
import { parseRoute } from '../../../../../src/servers/http/pages/route.ts'

const BASENAME = '00bgd045z0d4icpbc2yyz4gx48ak44la-hello'
const parse = (path: string, query = '') => parseRoute(path, new URLSearchParams(query))

test('the overview, searched or not', () => {
  expect(parse('/')).toEqual({ kind: 'overview', query: '', page: 1 })
  expect(parse('/', 'page=7')).toEqual({ kind: 'overview', query: '', page: 7 })
  expect(parse('/search', 'q=%20gtk%20&page=2')).toEqual({ kind: 'overview', query: 'gtk', page: 2 })
})

test.each(['0', '-1', '1e3', 'x', '99999999999', ''])('page %j is the first', (page) =>
  expect(parse('/', `page=${page}`)).toMatchObject({ page: 1 }),
)

test.each(['path', 'raw', 'closure'])('%s has a store path and what is inside', (kind) => {
  const route = parse(`/${kind}/${BASENAME}/bin/%FF`)
  expect(route).toMatchObject({ kind, inner: [Buffer.from('bin'), Buffer.from([0xff])] })
  expect(parse(`/${kind}/${BASENAME}/`)).toMatchObject({ kind, inner: [] })
})

test.each([
  '/path/',
  '/path/hello',
  `/path/${BASENAME}/../x`,
  `/path/${BASENAME}//x`,
  `/path/${BASENAME}/%2e%2e`,
  `/path/${BASENAME}/a%2Fb`,
  `/path/${BASENAME}/%00`,
  `/path/${BASENAME}/%`,
])('%s stands for nothing', (path) => expect(parse(path)).toMatchObject({ kind: 'malformed' }))

test.each([
  '/nix-cache-info',
  '/00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo',
  '/00bgd045z0d4icpbc2yyz4gx48ak44la.ls',
  '/nar/tvix-castore/AAAA',
  '/nar/snix-castore/AAAA',
  '/nar/0000000000000000000000000000000000000000000000000000.nar',
  '/path',
  '/favicon.ico',
])('%s is left to the binary cache', (path) => expect(parse(path)).toBeUndefined())
