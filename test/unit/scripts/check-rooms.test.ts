import { expect, test } from 'vitest'
// @ts-expect-error: a script for maintainers, not typed
import { findViolations, roomOf } from '../../../scripts/check-rooms.mjs'

const find = (files: Record<string, string>): string[] => findViolations(new Map(Object.entries(files)))

test('an import to the right is fine', () => {
  expect(find({ 'src/transfer/a.ts': `import { x } from '../model/castore/b.ts'` })).toEqual([])
})

test('an import to the left is found, also of types and over several lines', () => {
  expect(
    find({ 'src/model/castore/a.ts': `import type {\n  X,\n} from '../../services/blobs/b.ts'` }),
  ).toEqual([
    'src/model/castore/a.ts imports src/services/blobs/b.ts: src/model/castore may not know src/services/blobs',
  ])
})

test('side by side rooms are strangers', () => {
  expect(find({ 'src/mount/fuse/a.ts': `export * from '../../servers/grpc/b.ts'` })).toHaveLength(1)
  expect(find({ 'src/services/blobs/a.ts': `import { x } from '../directories/b.ts'` })).toHaveLength(1)
})

test('generated code stays inside model/wire', () => {
  const source = `import { x } from '../../model/wire/generated/b.js'`
  expect(find({ 'src/servers/grpc/a.ts': source })[0]).toContain('stays inside model/wire')
})

test('a cycle within one room is found', () => {
  const files = {
    'src/support/a.ts': `import { b } from './b.ts'`,
    'src/support/b.ts': `import { c } from './c.ts'`,
    'src/support/c.ts': `import { a } from './a.ts'`,
  }
  expect(find(files)).toEqual([
    'import cycle: src/support/a.ts → src/support/b.ts → src/support/c.ts → src/support/a.ts',
  ])
})

test('a file belongs to the innermost room', () => {
  expect(roomOf('src/model/wire/generated/x.js')).toBe('src/model/wire/generated')
  expect(roomOf('src/services/grpc-channel.ts')).toBe('src/services')
})
