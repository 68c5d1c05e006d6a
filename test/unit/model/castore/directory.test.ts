import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import {
  decodeAnonymousNode,
  decodeNodeMessage,
  encodeNodeMessage,
} from '../../../../src/model/castore/directory-codec.ts'
import type { Entry, Node } from '../../../../src/model/castore/node.ts'
import { pathComponent, pathComponentFault } from '../../../../src/model/castore/path-component.ts'
import { ProtoReader } from '../../../../src/model/castore/proto.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import { equalBytes, hex, utf8 } from '../../../../src/support/bytes.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { vectors } from '../../../support/vectors.ts'

function unhex(digits: string): Uint8Array {
  return Buffer.from(digits, 'hex')
}

function variantOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof ValidationError) return error.variant
    throw error
  }
  return 'valid'
}

const entry = (name: string, node: Node): Entry => ({ name: pathComponent(utf8(name)), node })
const directoryOf = (size: bigint): Node => ({ kind: 'directory', digest: EMPTY_DIGEST, size })
const fileOf = (size: bigint): Node => ({ kind: 'file', digest: EMPTY_DIGEST, size, executable: false })

const FORMULAS = ['rust', 'documented'] as const

interface Fixture {
  readonly name: string
  readonly rust: Flavour
  readonly documented: Flavour
}

interface Flavour {
  readonly proto_hex: string
  readonly digest_hex: string
  readonly size: number
}

describe('the fixture', () => {
  for (const fixture of vectors.directories.fixtures as Fixture[])
    for (const formula of FORMULAS)
      it(`${fixture.name}, sizes by the ${formula} formula`, () => {
        const { proto_hex, digest_hex, size } = fixture[formula]
        const directory = Directory.decode(unhex(proto_hex))
        expect(directory.size(formula)).toBe(BigInt(size))
        const rebuilt = Directory.from([...directory.entries].reverse())
        expect(hex(rebuilt.encoded)).toBe(proto_hex)
        expect(rebuilt.digest.hex).toBe(digest_hex)
      })
})

describe('the size of a directory with', () => {
  const contents: Readonly<Record<string, readonly Entry[]>> = {
    empty: [],
    'one directory child with size 0': [entry('a', directoryOf(0n))],
    'one directory child with size 4': [entry('a', directoryOf(4n))],
    'one file of 42 bytes': [entry('a', fileOf(42n))],
    'one symlink': [entry('a', { kind: 'symlink', target: symlinkTarget(utf8('b')) })],
    'one directory child with size u64::MAX-1': [entry('a', directoryOf(2n ** 64n - 2n))],
    'one directory child with size u64::MAX': [entry('a', directoryOf(2n ** 64n - 1n))],
    'two directory children with size u64::MAX/2 each': ['a', 'b'].map((name) =>
      entry(name, directoryOf(2n ** 63n - 1n)),
    ),
  }
  for (const vector of vectors.directories.size_function_cases.cases)
    it(vector.contents, () => {
      const entries = contents[vector.contents]!
      if (vector.documented_size === null) {
        expect(variantOf(() => Directory.from(entries))).toBe('SizeOverflow')
        return
      }
      const directory = Directory.from(entries)
      expect(directory.size('documented')).toBe(BigInt(vector.documented_size))
      if (vector.rust_internal_size !== undefined)
        expect(directory.size('rust')).toBe(BigInt(vector.rust_internal_size))
    })
})

describe('a directory message', () => {
  for (const { what, proto_hex, expected_error } of vectors.directory_messages.invalid)
    it(`is refused: ${what}`, () => {
      const [expected] = expected_error.split(' (reported')
      expect(variantOf(() => Directory.decode(unhex(proto_hex)))).toBe(expected)
    })

  for (const { what, proto_hex, digest_hex } of vectors.directory_messages.valid)
    it(`is taken: ${what}`, () => {
      const directory = Directory.decode(unhex(proto_hex))
      expect(hex(directory.encoded)).toBe(proto_hex)
      expect(directory.digest.hex).toBe(digest_hex)
    })

  it('is refused when a list is not sorted', () => {
    const [a, b] = ['12250a0161', '12250a0162'].map((start) => `${start}1220${EMPTY_DIGEST.hex}`)
    expect(variantOf(() => Directory.decode(unhex(a! + b!)))).toBe('valid')
    expect(variantOf(() => Directory.decode(unhex(b! + a!)))).toBe('WrongSorting(a)')
    expect(variantOf(() => Directory.decode(unhex(a! + a!)))).toBe('DuplicateName(a)')
  })

  it('loses unknown fields', () => {
    const known = `12250a01611220${EMPTY_DIGEST.hex}`
    const unknown = '2001' + '2a03616263' + '3101020304050607' + '08' + '3d01020304'
    expect(hex(Directory.decode(unhex(unknown + known + unknown)).encoded)).toBe(known)
  })

  it('is made canonical: long varints, written defaults, fields out of order', () => {
    const canonical = `12250a01611220${EMPTY_DIGEST.hex}`
    const [size, digest, name, executable] = ['1800', `1220${EMPTY_DIGEST.hex}`, '0a81800061', '20808000']
    const body = `${size}${digest}${name}${executable}`
    const odd = `12${(body.length / 2 + 128).toString(16)}8000${body}`
    expect(hex(Directory.decode(unhex(odd)).encoded)).toBe(canonical)
  })

  const KNOWN = `12250a01611220${EMPTY_DIGEST.hex}`

  it.each([
    ['a group', '23' + '0801' + '24'],
    ['groups in groups', '23' + '2b' + '33' + '34' + '1203616263' + '2c' + '24'],
    ['a field with a long tag', 'a0808080808080808000' + '01'],
  ])('loses %s that it does not know', (_, unknown) => {
    expect(hex(Directory.decode(unhex(KNOWN + unknown)).encoded)).toBe(KNOWN)
  })

  it('is made canonical when lengths have up to ten bytes', () => {
    const odd = KNOWN.replace(/^1225/, '12a5808080808080808000')
    expect(hex(Directory.decode(unhex(odd)).encoded)).toBe(KNOWN)
  })

  it.each([
    ['whose group does not end', '23' + '0801'],
    ['whose group ends as another one', '23' + '2c'],
    ['that ends a group which did not begin', '24'],
    // Cut to 32 bits these are a tag and a length that look canonical: one directory would have many digests.
    ['with a tag above 32 bits', KNOWN.replace(/^12/, '9280808010')],
    ['with a length above 32 bits', KNOWN.replace(/^1225/, '12a580808010')],
    ['with a size above 64 bits', `0a31${KNOWN.slice(4)}18ffffffffffffffffff02`],
    ['with field number 0', '0001'],
  ])('is refused %s', (_, encoded) => {
    expect(variantOf(() => Directory.decode(unhex(encoded)))).toBe('Malformed')
  })

  it('is refused for what comes first as its lists are merged', () => {
    const node = (kind: string, name: string, rest = '') => {
      const body = `0a01${hex(utf8(name))}${kind === '1a' ? '120178' : `1220${EMPTY_DIGEST.hex}`}${rest}`
      return `${kind}${(body.length / 2).toString(16).padStart(2, '0')}${body}`
    }
    const max = '18ffffffffffffffffff01'
    const variant = (...parts: string[]) => variantOf(() => Directory.decode(unhex(parts.join(''))))
    expect(variant(node('0a', 'a', max), node('12', 'a'))).toBe('SizeOverflow')
    expect(variant(node('0a', 'a'), node('12', 'a'), node('1a', 'b'))).toBe('DuplicateName(a)')
    expect(variant(node('0a', 'a'), node('0a', 'z'), node('12', 'z'), node('1a', 'a'))).toBe(
      'DuplicateName(z)',
    )
  })
})

describe('a node message', () => {
  for (const { what, proto_hex, expected_error } of vectors.directory_messages.node_messages_invalid)
    it(`is refused: ${what}`, () => {
      const [expected] = expected_error.split(' (snix')
      expect(variantOf(() => decodeAnonymousNode(unhex(proto_hex)))).toBe(expected)
    })

  it('may come in parts of one kind, which are one message; of two kinds, the last counts', () => {
    const digest = `1220${EMPTY_DIGEST.hex}`
    expect(decodeAnonymousNode(unhex(`0a22${digest}0a021805`))).toMatchObject({ size: 5n })
    expect(decodeAnonymousNode(unhex(`0a22${digest}1a03120161`))).toMatchObject({ kind: 'symlink' })
    expect(variantOf(() => decodeAnonymousNode(unhex('1a031201610a021805')))).toBe(
      'InvalidNode(, InvalidDigestLen(0))',
    )
  })
})

const bytes = (maxLength: number, minLength = 0) => fc.uint8Array({ minLength, maxLength })
const anyName = bytes(255, 1)
  .filter((name) => !pathComponentFault(name))
  .map(pathComponent)
const anyDigest = bytes(32, 32).map((digest) => Digest.fromBytes(digest))
const anySize = fc.oneof(fc.bigInt(0n, 2n ** 56n), fc.bigInt(0n, 300n))
const anyNode: fc.Arbitrary<Node> = fc.oneof(
  fc.record({ kind: fc.constant('directory' as const), digest: anyDigest, size: anySize }),
  fc.record({
    kind: fc.constant('file' as const),
    digest: anyDigest,
    size: fc.oneof(anySize, fc.bigInt(0n, 2n ** 64n - 1n)),
    executable: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('symlink' as const),
    target: bytes(40, 1)
      .filter((target) => !target.includes(0))
      .map(symlinkTarget),
  }),
)
const anyDirectory = fc
  .uniqueArray(fc.record({ name: anyName, node: anyNode }), { selector: (e) => hex(e.name), maxLength: 12 })
  .map((entries) => Directory.from(entries))

function sameNode(a: Node | undefined, b: Node): boolean {
  if (a?.kind === 'symlink' && b.kind === 'symlink') return equalBytes(a.target, b.target)
  if (!a || a.kind === 'symlink' || b.kind === 'symlink' || a.kind !== b.kind) return false
  const executable = (node: Node) => node.kind === 'file' && node.executable
  return a.digest.equals(b.digest) && a.size === b.size && executable(a) === executable(b)
}

test('any directory survives its encoding', () => {
  fc.assert(
    fc.property(anyDirectory, (directory) => {
      const decoded = Directory.decode(directory.encoded)
      expect(decoded.digest.equals(directory.digest)).toBe(true)
      expect(decoded.entries.length).toBe(directory.entries.length)
      for (const { name, node } of directory.entries) expect(sameNode(decoded.get(name), node)).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('any node survives its encoding', () => {
  fc.assert(
    fc.property(anyName, anyNode, (name, node) => {
      const decoded = decodeNodeMessage(encodeNodeMessage(name, node))
      expect(equalBytes(decoded.name, name)).toBe(true)
      expect(sameNode(decoded.node, node)).toBe(true)
    }),
    { numRuns: 300 },
  )
})

function throwsOnlyStoreErrors(work: () => unknown): void {
  try {
    work()
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
  }
}

test('random bytes are taken or refused with a reason', () => {
  fc.assert(
    fc.property(bytes(200), (message) => {
      throwsOnlyStoreErrors(() => Directory.decode(message))
      throwsOnlyStoreErrors(() => decodeAnonymousNode(message))
    }),
    { numRuns: 3000 },
  )
})

test('a damaged directory is taken or refused with a reason, and then is canonical', () => {
  const damage = fc.record({ at: fc.nat(), to: fc.nat(255), cut: fc.nat(400) })
  fc.assert(
    fc.property(anyDirectory, damage, (directory, { at, to, cut }) => {
      const message = Uint8Array.from(directory.encoded).subarray(0, 1 + cut)
      if (message.length > 0) message[at % message.length] = to
      throwsOnlyStoreErrors(() => {
        const decoded = Directory.decode(message)
        // Encoded anew from its entries: what is kept of the message must be nothing else.
        expect(equalBytes(decoded.encoded, Directory.from(decoded.entries).encoded)).toBe(true)
      })
    }),
    { numRuns: 5000 },
  )
})

test.each([
  ['a size of 0 that is written', '0a2712036162631220DIGEST1800'],
  ['a size in one byte too many', '122b0a036162631220DIGEST18810000'],
  ['executable as 2', '122b0a036162631220DIGEST18012002'],
  ['a name twice', '122e0a0178 0a036162631220DIGEST1801'],
  ['an unknown field', '122b0a036162631220DIGEST18012801'],
  ['fields of the node out of order', '12291220DIGEST0a036162631801'],
  ['a long tag', '122a8a00036162631220DIGEST1801'],
])('%s is not kept as it came', (_, text) => {
  const message = unhex(text.replaceAll(' ', '').replace('DIGEST', EMPTY_DIGEST.hex))
  // The length of the one entry is made to fit.
  message[1] = message.length - 2
  let decoded: Directory
  try {
    decoded = Directory.decode(message)
  } catch (error) {
    expect(error).toBeInstanceOf(ValidationError)
    return
  }
  expect(equalBytes(decoded.encoded, message)).toBe(false)
  expect(equalBytes(decoded.encoded, Directory.from(decoded.entries).encoded)).toBe(true)
})

test('a varint of any length up to 64 bits reads as written', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (size) => {
      const { node } = decodeNodeMessage(encodeNodeMessage(utf8('a'), fileOf(size)))
      expect(node.kind === 'file' && node.size).toBe(size)
    }),
  )
})

test('a varint that never ends is refused', () => {
  const reader = new ProtoReader(unhex(`08${'ff'.repeat(11)}`))
  reader.next()
  expect(() => reader.uint64()).toThrow(ValidationError)
})

test('names are found, and only those', () => {
  const names = ['.keep', 'aa', 'a', "a'", 'Z', 'keep', 'ä']
  const directory = Directory.from(names.map((name) => entry(name, fileOf(1n))))
  for (const name of names) expect(directory.get(utf8(name))).toBeDefined()
  for (const name of ['', 'b', '.kee', 'keep2', '~']) expect(directory.get(utf8(name))).toBeUndefined()
  expect(directory.entries.map(({ name }) => Buffer.from(name).toString())).toEqual([
    '.keep',
    'Z',
    'a',
    "a'",
    'aa',
    'keep',
    'ä',
  ])
})

test('the empty directory is the empty message', () => {
  const { encoded, digest } = Directory.from([])
  expect(encoded).toHaveLength(0)
  expect(digest.equals(EMPTY_DIGEST)).toBe(true)
})
