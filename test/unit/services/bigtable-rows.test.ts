import { describe, expect, it } from 'vitest'
import { type CellChunk, RowAssembler } from '../../../src/services/bigtable-rows.ts'

const KEY = 'ab'.repeat(32)

function rows(chunks: readonly CellChunk[]): [string, string][] {
  const assembler = new RowAssembler('cf')
  const found = chunks.flatMap((chunk) => assembler.push(chunk) ?? [])
  assembler.finish()
  return found.map(({ key, value }) => [key, value.toString()])
}

const first = (value: string, rest: Partial<CellChunk> = {}, key = KEY): CellChunk => ({
  rowKey: Buffer.from(key),
  familyName: { value: 'cf' },
  qualifier: { value: Buffer.from(key) },
  value: Buffer.from(value),
  ...rest,
})

describe('rows of Bigtable', () => {
  it('come in one piece', () => {
    expect(rows([first('x', { commitRow: true })])).toEqual([[KEY, 'x']])
  })

  it('come in several pieces', () => {
    const chunks = [
      first('one ', { valueSize: 11 }),
      { value: Buffer.from('two '), valueSize: 11 },
      { value: Buffer.from('end'), commitRow: true },
    ]
    expect(rows(chunks)).toEqual([[KEY, 'one two end']])
  })

  it('may be empty, and follow each other', () => {
    const other = 'cd'.repeat(20)
    const chunks = [first('', { commitRow: true }), first('y', { commitRow: true }, other)]
    expect(rows(chunks)).toEqual([
      [KEY, ''],
      [other, 'y'],
    ])
  })

  it('begin anew when the server says so', () => {
    const chunks = [first('wrong', { valueSize: 9 }), { resetRow: true }, first('right', { commitRow: true })]
    expect(rows(chunks)).toEqual([[KEY, 'right']])
  })

  it.each<[string, CellChunk[]]>([
    [
      'a column of another name',
      [first('x', { qualifier: { value: Buffer.from('other') }, commitRow: true })],
    ],
    ['a column of another family', [first('x', { familyName: { value: 'other' }, commitRow: true })]],
    [
      'two cells',
      [first('x'), { qualifier: { value: Buffer.from(KEY) }, value: Buffer.from('y'), commitRow: true }],
    ],
    ['a value without a cell', [{ value: Buffer.from('x'), commitRow: true }]],
    ['a value that ends in the middle', [first('x', { valueSize: 9, commitRow: true })]],
    [
      'more than 10 MiB',
      Array.from({ length: 12 }, (_, index) => {
        const value = Buffer.alloc(1024 * 1024)
        return index === 0 ? { ...first(''), value, valueSize: 2 ** 30 } : { value, valueSize: 2 ** 30 }
      }),
    ],
  ])('are corrupt with %s', (_, chunks) => {
    expect(() => rows(chunks)).toThrow(expect.objectContaining({ code: 'corrupt' }))
  })

  it('that break off are not there', () => {
    expect(() => rows([first('x', { valueSize: 9 })])).toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    )
  })
})
