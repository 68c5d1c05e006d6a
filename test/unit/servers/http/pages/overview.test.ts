import { expect, test } from 'vitest'
import { Links } from '../../../../../src/servers/http/pages/links.ts'
import { overviewPage, searchPage } from '../../../../../src/servers/http/pages/overview.ts'
import { PackedNames } from '../../../../../src/servers/http/pages/packed-names.ts'
import type { Snapshot } from '../../../../../src/servers/http/pages/path-index.ts'
import { StoreError } from '../../../../../src/support/errors.ts'
import { makePathInfo } from '../../../../support/path-infos.ts'

const { storePath } = makePathInfo('a')
const names = PackedNames.of([{ storePath, narSize: 2_048 }])
const links = new Links('/')
const failure = new StoreError('unavailable', 'the <disk> is away')

test.each<[Snapshot, string, string]>([
  [{ names, state: 'complete' }, '<h1>1 store path</h1>', '2.0 KiB as NARs'],
  [{ names, state: 'reading' }, '<h1>1 store path so far</h1>', 'still being read'],
  [{ names, state: 'cut' }, '<h1>More than 1 store path</h1>', 'listed and searched here (1)'],
  [{ names, state: 'failed', failure }, '<h1>1 store path so far</h1>', 'the &lt;disk&gt; is away'],
  [{ names: PackedNames.EMPTY, state: 'reading' }, '<h1>0 store paths so far</h1>', 'still being read'],
])('%# says how much of the list it is', (snapshot, heading, note) => {
  const { text } = overviewPage(links, snapshot, { page: 1, origin: undefined }).body
  expect(text).toContain(heading)
  expect(text).toContain(note)
})

test('a search in a part of the list says so', () => {
  const found = { total: 0, paths: [] }
  const page = searchPage(links, { names, state: 'reading' }, { query: 'x', page: 1, found })
  expect(page.body.text).toContain('No path for “x”')
  expect(page.body.text).toContain('still being read')
})

test('a search has no page beyond its last, and leads back', () => {
  const found = { total: 1, paths: [] }
  const page = searchPage(links, { names, state: 'complete' }, { query: 'x', page: 9, found })
  expect(page.body.text).toContain('There is no page 9; <a href="./search?q=x">')
})
