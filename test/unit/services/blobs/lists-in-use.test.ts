import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { ListsInUse } from '../../../../src/services/blobs/lists-in-use.ts'

const BLOB = Digest.of(Buffer.from('a blob'))
const fine = () => {}

test('readers of one blob have one list, which is checked once', () => {
  const lists = new ListsInUse()
  const first = Buffer.from('a list')
  let checked = 0
  const check = () => checked++
  expect(lists.shared(BLOB, first, check)).toBe(first)
  expect(lists.shared(BLOB, Buffer.from(first), check)).toBe(first)
  expect(checked).toBe(1)
})

test('another list of the same blob is checked, and everybody keeps what he has', () => {
  const lists = new ListsInUse()
  lists.shared(BLOB, Buffer.from('a list'), fine)
  const other = Buffer.from('b list')
  const fail = () => {
    throw new Error('no list')
  }
  expect(() => lists.shared(BLOB, other, fail)).toThrow('no list')
  expect(lists.shared(BLOB, other, fine)).toBe(other)
})

test('a list is that of its blob only', () => {
  const lists = new ListsInUse()
  const list = Buffer.from('a list')
  lists.shared(BLOB, list, fine)
  const same = Buffer.from(list)
  expect(lists.shared(Digest.of(Buffer.from('another')), same, fine)).toBe(same)
})
