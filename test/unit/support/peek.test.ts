import { expect, test } from 'vitest'
import { concatBytes, utf8 } from '../../../src/support/bytes.ts'
import { peek } from '../../../src/support/peek.ts'
import { collect } from '../../support/collect.ts'

async function* pieces(...texts: string[]) {
  for (const text of texts) yield utf8(text)
}

test.each([[['abcdef', 'gh']], [['a', 'b', '', 'cdefgh']], [['abc']], [[]]])('%j', async (texts) => {
  const { head, whole } = await peek(pieces(...texts), 4)
  const all = texts.join('')
  expect(Buffer.from(head).toString().slice(0, 4)).toBe(all.slice(0, 4))
  expect(Buffer.from(concatBytes(await collect(whole))).toString()).toBe(all)
})

test('the source is released when its reader leaves', async () => {
  let released = false
  async function* source() {
    try {
      yield utf8('ab')
      yield utf8('cd')
    } finally {
      released = true
    }
  }
  const { whole } = await peek(source(), 1)
  for await (const _ of whole) break
  expect(released).toBe(true)
})
