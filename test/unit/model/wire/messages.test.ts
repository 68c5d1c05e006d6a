import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import {
  blobChunk,
  calculateNarResponse,
  getDirectoryRequest,
  getPathInfoRequest,
  putBlobResponse,
  statBlobRequest,
  statBlobResponse,
} from '../../../../src/model/wire/messages.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { DirectorySchema } from '../../../golden/generated/tvix/castore/protos/castore_pb.js'
import { BlobChunkSchema } from '../../../golden/generated/tvix/castore/protos/rpc_blobstore_pb.js'
import { vectors } from '../../../support/vectors.ts'

const digest = Digest.of(Buffer.from('hello'))

describe('BlobChunk by hand', () => {
  test.each([0, 1, 127, 128, 16_383, 16_384, 70_000, 2_097_152])('%i bytes as the generated code', (size) => {
    const data = new Uint8Array(size).fill(5)
    const encoded = blobChunk.encode(data)
    expect(hex(encoded)).toBe(hex(toBinary(BlobChunkSchema, create(BlobChunkSchema, { data }))))
    expect(Buffer.compare(blobChunk.decode(encoded), data)).toBe(0)
  })

  test('decoding copies nothing', () => {
    const message = blobChunk.encode(Buffer.from('abc'))
    expect(blobChunk.decode(message).buffer).toBe(message.buffer)
  })

  test('unknown fields are skipped and a cut message is malformed', () => {
    expect(Buffer.from(blobChunk.decode(Buffer.from('10010a0161', 'hex'))).toString()).toBe('a')
    expect(() => blobChunk.decode(Buffer.from('0a0561', 'hex'))).toThrow(ValidationError)
  })

  describe('a message in parts', () => {
    const cut = (bytes: Uint8Array, at: number) =>
      [bytes.subarray(0, at), bytes.subarray(at)].filter((part) => part.length > 0)

    test('means what it means in one part, wherever it is cut and whatever it is', () => {
      const wild = fc.oneof(
        fc.uint8Array({ maxLength: 300 }).map((data) => blobChunk.encode(data)),
        fc.uint8Array({ maxLength: 12 }),
        fc
          .constantFrom('10010a0161', '0a01610a0162', '0a016110010a', '0a8180000161', '0aff', '0a')
          .map(fromHex),
      )
      const outcome = (decode: () => Uint8Array) => {
        try {
          return hex(decode())
        } catch (error) {
          return (error as Error).message
        }
      }
      fc.assert(
        fc.property(wild, fc.nat(300), (bytes, at) => {
          const parts = outcome(() => Buffer.concat(blobChunk.decodeParts!(cut(bytes, at))))
          expect(parts).toBe(outcome(() => blobChunk.decode(bytes)))
        }),
        { numRuns: 2_000 },
      )
    })

    test('is not copied', () => {
      const message = blobChunk.encode(new Uint8Array(20_000))
      const parts = blobChunk.decodeParts!(cut(message, 16_000))
      expect(parts.map((part) => part.buffer === message.buffer)).toEqual([true, true])
    })
  })
})

function fromHex(digits: string): Uint8Array {
  return Buffer.from(digits, 'hex')
}

describe('small messages', () => {
  test('fields have their numbers', () => {
    const raw = digest.bytes
    expect(hex(statBlobRequest.encode({ digest: raw, sendChunks: true }))).toBe(`0a20${digest.hex}1001`)
    expect(hex(getDirectoryRequest.encode({ digest: raw, recursive: true }))).toBe(`0a20${digest.hex}1001`)
    expect(hex(putBlobResponse.encode(digest))).toBe(`0a20${digest.hex}`)
    const chunks = [{ digest, size: 300 }]
    expect(hex(statBlobResponse.encode(chunks))).toBe(`12250a20${digest.hex}10ac02`)
  })

  test('an unset by_what is told apart from an empty one', () => {
    const empty = new Uint8Array(0)
    expect(getPathInfoRequest.decode(getPathInfoRequest.encode(undefined))).toBeUndefined()
    expect(getPathInfoRequest.decode(getPathInfoRequest.encode(empty))).toHaveLength(0)
    expect(
      getDirectoryRequest.decode(getDirectoryRequest.encode({ digest: undefined, recursive: false })).digest,
    ).toBeUndefined()
  })

  test('what a peer answers is checked', () => {
    expect(() => putBlobResponse.decode(Buffer.from('0a0161', 'hex'))).toThrow('invalid digest length: 1')
    expect(() => calculateNarResponse.decode(Buffer.from('120161', 'hex'))).toThrow(/1 bytes instead of 32/)
    expect(() => statBlobResponse.decode(Buffer.from('12030a0161', 'hex'))).toThrow(ValidationError)
    const size2e60 = `12${hex(Uint8Array.of(34 + 10))}0a20${digest.hex}10${'80'.repeat(8)}10`
    expect(() => statBlobResponse.decode(Buffer.from(size2e60, 'hex'))).toThrow(ValidationError)
  })
})

const name = fc.uint8Array({ minLength: 1, maxLength: 12 })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const byName = (a: { name: Uint8Array }, b: { name: Uint8Array }) => Buffer.compare(a.name, b.name)
const sorted = <T extends { name: Uint8Array }>(arbitrary: fc.Arbitrary<T>) =>
  fc.array(arbitrary, { maxLength: 6 }).map((list) => list.sort(byName))
const u64 = fc.bigInt({ min: 0n, max: 2n ** 62n })

describe('Directory by hand against the generated code', () => {
  const message = fc.record({
    directories: sorted(fc.record({ name, digest: bytes32, size: u64 })),
    files: sorted(fc.record({ name, digest: bytes32, size: u64, executable: fc.boolean() })),
    symlinks: sorted(fc.record({ name, target: fc.uint8Array({ minLength: 1, maxLength: 12 }) })),
  })

  test('both encoders give equal bytes, and both decoders the same entries', () => {
    let accepted = 0
    fc.assert(
      fc.property(message, (fields) => {
        const generated = toBinary(DirectorySchema, create(DirectorySchema, fields))
        let directory: Directory
        try {
          directory = Directory.decode(generated)
        } catch (error) {
          expect(error).toBeInstanceOf(ValidationError) // a name that is none, or twice
          return
        }
        accepted++
        expect(hex(directory.encoded)).toBe(hex(generated))
        const { directories, files, symlinks } = fromBinary(DirectorySchema, directory.encoded)
        const names = [...directories, ...files, ...symlinks].sort(byName).map((entry) => hex(entry.name))
        expect(directory.entries.map((entry) => hex(entry.name))).toEqual(names)
        for (const file of files) expect(directory.get(file.name)).toMatchObject({ size: file.size })
      }),
      { numRuns: 500 },
    )
    expect(accepted).toBeGreaterThan(100)
  })

  test('the fixtures too', () => {
    for (const { rust } of vectors.directories.fixtures as { rust: { proto_hex: string } }[]) {
      const directory = Directory.decode(Buffer.from(rust.proto_hex, 'hex'))
      const message = fromBinary(DirectorySchema, directory.encoded)
      expect(hex(toBinary(DirectorySchema, message))).toBe(rust.proto_hex)
      expect(hex(directory.encoded)).toBe(rust.proto_hex)
    }
  })

  test('refused encodings that are valid protobuf decode in the generated code', () => {
    for (const { proto_hex } of vectors.directory_messages.invalid as { proto_hex: string }[]) {
      const encoded = Buffer.from(proto_hex, 'hex')
      expect(() => Directory.decode(encoded)).toThrow(ValidationError)
      expect(hex(toBinary(DirectorySchema, fromBinary(DirectorySchema, encoded)))).toBe(proto_hex)
    }
  })
})
