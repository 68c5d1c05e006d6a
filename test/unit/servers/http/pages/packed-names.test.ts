import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { StorePath } from '../../../../../src/model/nix/store-path.ts'
import { type NamedPath, PackedNames } from '../../../../../src/servers/http/pages/packed-names.ts'
import { Turn } from '../../../../../src/support/turn.ts'

const turn = new Turn(3)
const ALL = { start: 0, end: Number.POSITIVE_INFINITY }

function named(name: string, narSize = 1, salt = ''): NamedPath {
  const digest = createHash('sha1').update(name).update(salt).digest()
  return { storePath: StorePath.fromParts(digest, name), narSize }
}

const paths = fc.array(
  fc.record({
    name: fc.stringMatching(/^[aAbB.+]{1,6}$/),
    narSize: fc.nat(),
    salt: fc.constantFrom('1', '2', '3'),
  }),
  { maxLength: 40 },
)
const texts = (found: readonly NamedPath[]) =>
  found.map(({ storePath, narSize }) => `${storePath} ${narSize}`)

test('rows are sorted by name, then by hash', () => {
  const packed = PackedNames.of(['b', 'a-b', 'a', 'a.1', 'A'].map((name) => named(name)))
  expect(packed.slice(0, 9).map(({ storePath }) => storePath.name)).toEqual(['A', 'a', 'a-b', 'a.1', 'b'])
})

test('merging is the same as sorting everything at once', async () => {
  await fc.assert(
    fc.asyncProperty(paths, paths, async (left, right) => {
      const [a, b] = [left, right].map((list) => list.map((one) => named(one.name, one.narSize, one.salt)))
      const merged = await PackedNames.merge(PackedNames.of(a!), PackedNames.of(b!), turn, {})
      const whole = PackedNames.of([...a!, ...b!])
      expect(texts(merged.slice(0, merged.length)).sort()).toEqual(texts(whole.slice(0, whole.length)).sort())
      expect(merged.slice(0, 99).map((row) => `${row.storePath}`)).toEqual(
        whole.slice(0, 99).map((row) => `${row.storePath}`),
      )
      expect(merged.narSize).toBe(whole.narSize)
    }),
  )
})

/** What a search promises, said in the plainest way. */
function isFound({ storePath }: NamedPath, words: readonly string[]): boolean {
  const [name, hash] = [storePath.name.toLowerCase(), storePath.toString().slice(0, 32)]
  return words.every((word) => name.includes(word.toLowerCase()) || hash.startsWith(word.toLowerCase()))
}

test('a search finds what has every word in its name or at the start of its hash', async () => {
  const word = fc.oneof(fc.stringMatching(/^[aAbB.+]{1,3}$/), fc.stringMatching(/^[0-9a-d]{1,2}$/))
  await fc.assert(
    fc.asyncProperty(paths, fc.array(word, { minLength: 1, maxLength: 3 }), async (list, words) => {
      const all = list.map((one) => named(one.name, one.narSize, one.salt))
      const { total, paths: found } = await PackedNames.of(all).search(words, ALL, turn)
      const expected = all.filter((path) => isFound(path, words))
      expect(texts(found).sort()).toEqual(texts(expected).sort())
      expect(total).toBe(expected.length)
    }),
  )
})

test('a word is not found where one row ends and the next begins, nor inside of a hash', async () => {
  const rows = [named('aa'), named('bb')]
  const { storePath } = PackedNames.of(rows).slice(0, 1)[0]!
  const hash = storePath.toString().slice(0, 32)
  const packed = PackedNames.of(rows)
  expect((await packed.search([`${hash.slice(-2)}bb`], ALL, turn)).total).toBe(0)
  expect((await packed.search([hash.slice(3, 9)], ALL, turn)).total).toBe(0)
  expect((await packed.search([hash.slice(0, 9)], ALL, turn)).total).toBe(1)
})

test('of many hits only the page that is wanted is made, and all are counted', async () => {
  const packed = PackedNames.of(Array.from({ length: 9_000 }, (_, i) => named(`gtk-${i}`)))
  const found = await packed.search(['GTK'], { start: 100, end: 110 }, turn)
  expect(found.total).toBe(9_000)
  expect(texts(found.paths)).toEqual(texts(packed.slice(100, 110)))
})

test('a search ends with its request', async () => {
  const packed = PackedNames.of([named('a')])
  await expect(packed.search(['a'], ALL, turn, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    code: 'cancelled',
  })
})
