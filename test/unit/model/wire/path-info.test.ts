import { describe, expect, test } from 'vitest'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import type { ContentAddress } from '../../../../src/model/nix/content-address.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import { decodePathInfo, encodePathInfo } from '../../../../src/model/wire/path-info.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

interface Vector {
  readonly what: string
  readonly proto_hex: string
  readonly expected_error?: string
}

const { valid, invalid, dummy_path, ca_types } = vectors.pathinfo as {
  valid: Vector[]
  invalid: Vector[]
  dummy_path: string
  ca_types: Record<string, [number: number, digestBytes: number]>
}

/** The vectors abbreviate: `..` stands for anything, a remark in brackets follows, `dummy path` is the name. */
function matches(variant: string, expected: string): boolean {
  const [head = ''] = expected.replace('dummy path', dummy_path).split(/ \(|\.\./)
  return variant.startsWith(head.replace(/\)*$/, ''))
}

function faultOf(bytes: Uint8Array): string {
  try {
    decodePathInfo(bytes)
  } catch (error) {
    if (error instanceof ValidationError) return error.variant
    throw error
  }
  return 'valid'
}

describe('vectors', () => {
  test.each(valid)('$what round-trips to the bit', ({ proto_hex }) => {
    const pathInfo = decodePathInfo(Buffer.from(proto_hex, 'hex'))
    expect(pathInfo.storePath.toString()).toBe(dummy_path)
    expect(hex(encodePathInfo(pathInfo))).toBe(proto_hex)
  })

  test.each(invalid)('$what is refused with $expected_error', ({ proto_hex, expected_error }) => {
    const variant = faultOf(Buffer.from(proto_hex, 'hex'))
    expect(matches(variant, expected_error!), variant).toBe(true)
  })
})

const base = decodePathInfo(Buffer.from(valid[0]!.proto_hex, 'hex'))

describe('content addresses', () => {
  const kinds = { NAR: 'nar', TEXT: 'text', FLAT: 'flat' } as const
  test.each(Object.entries(ca_types))('%s has its number and length', (name, [number, length]) => {
    const [kind, algorithm] = name.split('_') as ['NAR' | 'TEXT' | 'FLAT', string]
    const digest = new Uint8Array(length).fill(1)
    const ca = { kind: kinds[kind], algorithm: algorithm.toLowerCase(), digest } as ContentAddress
    const encoded = encodePathInfo({ ...base, ca })
    expect(decodePathInfo(encoded).ca).toEqual({ ...ca, digest: Buffer.from(digest) })
    const body = `${number === 0 ? '' : `08${hex(Uint8Array.of(number))}`}12${hex(Uint8Array.of(length))}`
    expect(hex(encoded)).toContain(`${body}${hex(digest)}`)
    expect(faultOf(encodePathInfo({ ...base, ca: { ...ca, digest: digest.subarray(1) } }))).toBe(
      `InvalidCaField(InvalidDigestLen(${length - 1}))`,
    )
  })
})

describe('order of the rules', () => {
  test('an empty message lacks its narinfo first', () => {
    expect(faultOf(new Uint8Array(0))).toBe('NarInfoFieldMissing')
  })

  test('a short reference digest is seen before the numbers are compared', () => {
    expect(faultOf(Buffer.from('1201ff1a00', 'hex'))).toBe('InvalidReferenceDigestLen(0, 1)')
  })

  test('a node without a kind is an invalid root node', () => {
    expect(faultOf(Buffer.from('0a001a00', 'hex'))).toBe('InvalidRootNode(NoNodeSet)')
  })

  test('a deriver with a bad name or digest is refused', () => {
    const deriver = { digest: new Uint8Array(19), name: 'a' } as StorePath
    expect(faultOf(encodePathInfo({ ...base, deriver }))).toMatch(/^InvalidDeriverField/)
  })

  test('what is no protobuf is malformed', () => {
    expect(faultOf(Buffer.from('ffffff', 'hex'))).toBe('Malformed')
  })
})

test('references keep their order and may repeat', () => {
  const b = StorePath.fromParts(new Uint8Array(20).fill(2), 'b')
  const a = StorePath.fromParts(new Uint8Array(20).fill(1), 'a')
  const decoded = decodePathInfo(encodePathInfo({ ...base, references: [b, a, b] }))
  expect(decoded.references.map(String)).toEqual([b, a, b].map(String))
})
