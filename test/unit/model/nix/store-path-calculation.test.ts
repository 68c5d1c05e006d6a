import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { contentAddress } from '../../../../src/model/nix/content-address.ts'
import type { HashAlgorithm } from '../../../../src/model/nix/nix-hash.ts'
import { decodeNixbase32 } from '../../../../src/model/nix/nixbase32.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import { contentAddressedPath, narStorePath } from '../../../../src/model/nix/store-path-calculation.ts'
import { vectors } from '../../../support/vectors.ts'

interface Case {
  fn: string
  name: string
  path: string
  references?: string[]
  content?: string
  digest_hex?: string
  digest_nixbase32?: string
  nar?: string
}
const sha256 = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest()
const narOf = (name: string) =>
  Buffer.from(vectors.nar.valid.find((nar: { name: string }) => nar.name === name).nar_b64, 'base64')

function addressOf(vector: Case) {
  if (vector.content !== undefined) return contentAddress('text', 'sha256', sha256(vector.content))
  const algorithm = vector.fn.split(' ')[2] as HashAlgorithm
  if (vector.nar !== undefined) return contentAddress('nar', algorithm, sha256(narOf(vector.nar)))
  const digest = vector.digest_hex
    ? Buffer.from(vector.digest_hex, 'hex')
    : decodeNixbase32(vector.digest_nixbase32!)
  return contentAddress('nar', algorithm, digest)
}

describe('paths of contents', () => {
  test.each(vectors.store_path_calculation.cases as Case[])('$fn $name', (vector) => {
    const references = (vector.references ?? []).map((path) => StorePath.fromAbsolutePath(path))
    expect(contentAddressedPath(vector.name, addressOf(vector), { references }).absolutePath).toBe(
      vector.path,
    )
  })

  test.each(
    vectors.nar.valid as { name: string; nar_sha256_hex: string; import_store_path_for_name_test: string }[],
  )('importing $name as "test"', ({ nar_sha256_hex, import_store_path_for_name_test }) => {
    expect(narStorePath('test', Buffer.from(nar_sha256_hex, 'hex')).absolutePath).toBe(
      import_store_path_for_name_test,
    )
  })

  const digest = new Uint8Array(32)
  const [a, b] = [vectors.store_path.valid[0].s, vectors.store_path.valid[1].s].map((s) => StorePath.parse(s))
  const references = [b!, a!]

  test('the order of references does not matter, the references do', () => {
    const ca = contentAddress('nar', 'sha256', digest)
    const path = contentAddressedPath('x', ca, { references })
    expect(contentAddressedPath('x', ca, { references: references.toReversed() })).toEqual(path)
    expect(contentAddressedPath('x', ca, { references: [a!] })).not.toEqual(path)
    expect(contentAddressedPath('x', ca, { references, selfReference: true })).not.toEqual(path)
  })

  test('a self reference is written after the references', () => {
    const fingerprint = `source:${a!.absolutePath}:self:sha256:${'00'.repeat(32)}:/nix/store:x`
    const expected = new Uint8Array(20)
    for (const [i, byte] of sha256(fingerprint).entries()) expected[i % 20]! ^= byte
    const path = contentAddressedPath('x', contentAddress('nar', 'sha256', digest), {
      references: [a!],
      selfReference: true,
    })
    expect(path.digest).toEqual(expected)
  })

  test('flat and recursive differ', () => {
    const flat = contentAddressedPath('x', contentAddress('flat', 'sha1', new Uint8Array(20)))
    const recursive = contentAddressedPath('x', contentAddress('nar', 'sha1', new Uint8Array(20)))
    expect(flat).not.toEqual(recursive)
  })

  test.each([
    ['flat', 'sha256', { references }],
    ['nar', 'sha512', { references }],
    ['flat', 'sha256', { selfReference: true }],
    ['text', 'sha256', { selfReference: true }],
  ] as const)('%s %s refuses %j', (kind, algorithm, options) => {
    const ca = contentAddress(kind, algorithm, new Uint8Array(algorithm === 'sha512' ? 64 : 32))
    expect(() => contentAddressedPath('x', ca, options)).toThrow(
      expect.objectContaining({ variant: 'ReferencesNotAllowed' }),
    )
  })

  test('the name is checked', () => {
    expect(() => narStorePath('a b', digest)).toThrow(expect.objectContaining({ variant: 'InvalidName' }))
  })
})
