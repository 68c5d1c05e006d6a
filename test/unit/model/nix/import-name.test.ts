import { describe, expect, test } from 'vitest'
import { importName } from '../../../../src/model/nix/import-name.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

const { ok, fail_hex } = vectors.import.path_to_name

describe('the name of a path that is imported', () => {
  test.each([...ok, ['/a/b/', 'b'], ['a/.', 'a'], ['a', 'a'], ['../a', 'a']] as [string, string][])(
    '%s is %s',
    (path, name) => {
      expect(importName(path)).toBe(name)
      expect(importName(utf8(path))).toBe(name)
    },
  )

  test.each([...fail_hex, '', '2f', '2e', '2e2e', '2e2f2e'] as string[])('hex %s has none', (path) => {
    expect(() => importName(Buffer.from(path, 'hex'))).toThrow(
      expect.objectContaining({ variant: 'InvalidImportName' }),
    )
  })

  test('a name that no store path may have is refused at once', () => {
    expect(() => importName('a/b c')).toThrow(expect.objectContaining({ variant: 'InvalidName' }))
    expect(() => importName('a'.repeat(212))).toThrow(expect.objectContaining({ variant: 'InvalidLength' }))
  })
})
