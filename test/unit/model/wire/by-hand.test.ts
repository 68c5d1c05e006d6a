/** The encodings that are written by hand against the generated code. Directory has its own test beside this one. */
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { encodeNodeMessage, type RawNode } from '../../../../src/model/castore/directory-codec.ts'
import type { Node } from '../../../../src/model/castore/node.ts'
import { symlinkTarget } from '../../../../src/model/castore/symlink-target.ts'
import { ValidationError } from '../../../../src/model/castore/validation-error.ts'
import {
  calculateNarResponse,
  getDirectoryRequest,
  getPathInfoRequest,
  putBlobResponse,
  putDirectoryResponse,
  readBlobRequest,
  statBlobRequest,
  statBlobResponse,
} from '../../../../src/model/wire/messages.ts'
import {
  type DecodedPathInfo,
  decodePathInfoMessage,
  encodePathInfoMessage,
  type NarInfoMessage,
} from '../../../../src/model/wire/path-info-message.ts'
import { hex } from '../../../../src/support/bytes.ts'
import {
  PutBlobResponseSchema,
  ReadBlobRequestSchema,
  StatBlobRequestSchema,
  StatBlobResponseSchema,
} from '../../../golden/generated/tvix/castore/protos/rpc_blobstore_pb.js'
import {
  GetDirectoryRequestSchema,
  PutDirectoryResponseSchema,
} from '../../../golden/generated/tvix/castore/protos/rpc_directory_pb.js'
import {
  type PathInfo as Generated,
  PathInfoSchema,
} from '../../../golden/generated/tvix/store/protos/pathinfo_pb.js'
import {
  CalculateNARResponseSchema,
  GetPathInfoRequestSchema,
} from '../../../golden/generated/tvix/store/protos/rpc_pathinfo_pb.js'
import { vectors } from '../../../support/vectors.ts'

const SEED = 20_261_122
const bytes = fc.uint8Array({ maxLength: 40 })
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 })
const text = fc.string({ unit: 'binary', maxLength: 20 })
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const isTarget = (target: Uint8Array) => target.length > 0 && !target.includes(0)
const node: fc.Arbitrary<Node> = fc.oneof(
  fc.record({ kind: fc.constant('directory' as const), digest: digest.map(Digest.fromBytes), size: u64 }),
  fc.record({
    kind: fc.constant('file' as const),
    digest: digest.map(Digest.fromBytes),
    size: u64,
    executable: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('symlink' as const), target: bytes.filter(isTarget).map(symlinkTarget) }),
)
const narinfo: fc.Arbitrary<NarInfoMessage> = fc.record({
  narSize: u64,
  narSha256: bytes,
  signatures: fc.array(fc.record({ name: text, data: bytes }), { maxLength: 3 }),
  referenceNames: fc.array(text, { maxLength: 3 }),
  deriver: fc.option(fc.record({ name: text, digest: bytes }), { nil: undefined }),
  ca: fc.option(fc.record({ type: fc.nat(2 ** 31 - 1), digest: bytes }), { nil: undefined }),
})
const pathInfo = fc
  .record({ name: bytes, node, references: fc.array(bytes, { maxLength: 3 }), narinfo })
  .map(({ name, node, ...rest }) => encodePathInfoMessage({ node: encodeNodeMessage(name, node), ...rest }))

/** What both say of a message, in the same words; `undefined` where it is refused. */
function byHand(message: Uint8Array): unknown {
  try {
    return plain(decodePathInfoMessage(message))
  } catch (error) {
    expect(error).toBeInstanceOf(ValidationError)
    return undefined
  }
}

function byGenerated(message: Uint8Array): unknown {
  let decoded: Generated
  try {
    decoded = fromBinary(PathInfoSchema, message, { readUnknownFields: false })
  } catch {
    return undefined
  }
  const { node: outer, references, narinfo } = decoded
  const node: RawNode | undefined =
    outer?.node.case === undefined
      ? undefined
      : {
          kind: outer.node.case,
          name: outer.node.value.name,
          value: outer.node.case === 'symlink' ? outer.node.value.target : outer.node.value.digest,
          size: outer.node.case === 'symlink' ? 0n : outer.node.value.size,
          executable: outer.node.case === 'file' && outer.node.value.executable,
          isCanonical: true,
        }
  return plain({
    hasNode: outer !== undefined,
    node,
    references,
    narinfo: narinfo && { ...narinfo, deriver: narinfo.deriver, ca: narinfo.ca },
  })
}

function plain({ hasNode, node, references, narinfo }: DecodedPathInfo): unknown {
  return {
    hasNode,
    node: node && [node.kind, hex(node.name), hex(node.value), node.size, node.executable],
    references: references.map(hex),
    narinfo: narinfo && {
      narSize: narinfo.narSize,
      narSha256: hex(narinfo.narSha256),
      signatures: narinfo.signatures.map(({ name, data }) => [name, hex(data)]),
      referenceNames: narinfo.referenceNames,
      deriver: narinfo.deriver && [narinfo.deriver.name, hex(narinfo.deriver.digest)],
      ca: narinfo.ca && [narinfo.ca.type, hex(narinfo.ca.digest)],
    },
  }
}

/** Fields that nobody knows, of every wire type; the last one is a group in a group. */
const UNKNOWN = ['f80601', 'f90600000000000000ff', 'fa0603616263', 'fd0600000001', 'fb06c306080ac406fc06']

describe('PathInfo', () => {
  test('both encoders give equal bytes, and both decoders equal fields', () => {
    fc.assert(
      fc.property(pathInfo, (encoded) => {
        expect(byHand(encoded)).toEqual(byGenerated(encoded))
        const generated = fromBinary(PathInfoSchema, encoded)
        expect(generated.$unknown).toBeUndefined()
        expect(hex(toBinary(PathInfoSchema, generated))).toBe(hex(encoded))
      }),
      { numRuns: 1_000 },
    )
  })

  test('what is cut in parts, repeated or mixed with unknown fields means the same to both', () => {
    const parts = fc.array(fc.oneof(pathInfo, fc.constantFrom(...UNKNOWN).map(fromHex)), { maxLength: 4 })
    fc.assert(
      fc.property(parts, (messages) => {
        const message = Buffer.concat(messages)
        const meaning = byHand(message)
        expect(meaning).toBeDefined()
        expect(meaning).toEqual(byGenerated(message))
      }),
      { numRuns: 1_000 },
    )
  })

  test('sub-messages have unknown fields, too', () => {
    const places = [['0a'], ['0a', '0a'], ['1a'], ['1a', '1a'], ['1a', '2a'], ['1a', '32']]
    for (const unknown of UNKNOWN)
      for (const place of places) {
        const message = fromHex(place.reduceRight((inner, field) => wrap(field, inner), unknown))
        expect(byHand(message), hex(message)).toBeDefined()
        expect(byHand(message), hex(message)).toEqual(byGenerated(message))
      }
  })

  /** The generated code minds neither wire types nor where a sub-message ends, so it takes more; as upstream, we do not. */
  test('whatever a message was damaged to, what is accepted means the same to the generated code', () => {
    const damage = fc.array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 3 })
    const counts = { accepted: 0, refused: 0, both: 0 }
    fc.assert(
      fc.property(pathInfo, damage, fc.option(fc.nat(400), { nil: undefined }), (encoded, changes, cut) => {
        const message = Buffer.from(encoded)
        for (const [at, value] of changes) message[at % message.length] = value
        const damaged = cut === undefined ? message : message.subarray(0, cut)
        const [ours, theirs] = [byHand(damaged), byGenerated(damaged)]
        if (ours === undefined) counts.refused++
        else expect(ours).toEqual(theirs)
        if (ours !== undefined) counts.accepted++
        if (theirs === undefined) counts.both++
      }),
      { numRuns: 5_000, seed: SEED },
    )
    expect(counts.accepted).toBeGreaterThan(500)
    expect(counts.both).toBeGreaterThan(500)
    expect(counts.refused).toBeGreaterThanOrEqual(counts.both)
  })

  test.each([
    ['a name that is not UTF-8', wrap('1a', '2201ff')],
    ['a cut message', '0a05'],
    ['a group that never ends', 'fb06'],
    ['a group that another ends', 'fb06c406'],
    ['an unknown wire type', 'fe06'],
    ['field number 0', '0001'],
  ])('%s is refused by both', (_, message) => {
    expect(byHand(fromHex(message))).toBeUndefined()
    expect(byGenerated(fromHex(message))).toBeUndefined()
  })

  test('the type of a content address has 32 bits, and may be negative', () => {
    for (const type of ['ffffffff0f', 'ffffffffffffffffff01', '8180808010']) {
      const message = fromHex(wrap('1a', wrap('32', `08${type}`)))
      expect(byHand(message)).toBeDefined()
      expect(byHand(message)).toEqual(byGenerated(message))
    }
  })

  test('every vector', () => {
    const { valid, invalid } = vectors.pathinfo as Record<string, { proto_hex: string }[]>
    expect(valid!.length + invalid!.length).toBeGreaterThan(10)
    for (const { proto_hex } of [...valid!, ...invalid!])
      expect(byHand(fromHex(proto_hex)), proto_hex).toEqual(byGenerated(fromHex(proto_hex)))
  })
})

describe('small messages', () => {
  const same = <D extends DescMessage>(schema: D, init: MessageInitShape<D>, encoded: Uint8Array) =>
    expect(hex(encoded)).toBe(hex(toBinary(schema, create(schema, init))))
  const check = <T>(arbitrary: fc.Arbitrary<T>, property: (value: T) => void) =>
    fc.assert(fc.property(arbitrary, property), { numRuns: 200 })
  const maybe = fc.option(bytes, { nil: undefined })

  test('those of blobs', () => {
    check(fc.record({ digest, sendChunks: fc.boolean() }), (request) => {
      same(StatBlobRequestSchema, request, statBlobRequest.encode(request))
      const withBao = toBinary(
        StatBlobRequestSchema,
        create(StatBlobRequestSchema, { ...request, sendBao: true }),
      )
      expect(statBlobRequest.decode(withBao)).toEqual({ ...request, digest: Buffer.from(request.digest) })
    })
    const chunk = fc.record({ digest, size: fc.nat({ max: Number.MAX_SAFE_INTEGER }) })
    check(fc.array(chunk, { maxLength: 4 }), (list) => {
      const chunks = list.map(({ digest, size }) => ({ digest: Digest.fromBytes(digest), size }))
      const init = { chunks: list.map(({ digest, size }) => ({ digest, size: BigInt(size) })) }
      same(StatBlobResponseSchema, init, statBlobResponse.encode(chunks))
      const withBao = create(StatBlobResponseSchema, { ...init, bao: new Uint8Array(3) })
      const decoded = statBlobResponse.decode(toBinary(StatBlobResponseSchema, withBao))
      expect(decoded.map(({ digest, size }) => [digest.hex, size])).toEqual(
        chunks.map(({ digest, size }) => [digest.hex, size]),
      )
    })
    check(bytes, (digest) => {
      same(ReadBlobRequestSchema, { digest }, readBlobRequest.encode(digest))
      expect(hex(readBlobRequest.decode(readBlobRequest.encode(digest)))).toBe(hex(digest))
    })
    check(digest, (digest) => {
      const encoded = putBlobResponse.encode(Digest.fromBytes(digest))
      same(PutBlobResponseSchema, { digest }, encoded)
      expect(putBlobResponse.decode(encoded).hex).toBe(hex(digest))
    })
  })

  test('those of directories', () => {
    check(fc.record({ digest: maybe, recursive: fc.boolean() }), ({ digest, recursive }) => {
      const byWhat = digest ? { case: 'digest' as const, value: digest } : { case: undefined }
      const encoded = getDirectoryRequest.encode({ digest, recursive })
      same(GetDirectoryRequestSchema, { byWhat, recursive }, encoded)
      expect(getDirectoryRequest.decode(encoded)).toEqual({
        digest: digest && Buffer.from(digest),
        recursive,
      })
    })
    check(digest, (rootDigest) => {
      const encoded = putDirectoryResponse.encode(Digest.fromBytes(rootDigest))
      same(PutDirectoryResponseSchema, { rootDigest }, encoded)
    })
  })

  test('those of path infos', () => {
    check(maybe, (outputHash) => {
      const byWhat = outputHash ? { case: 'byOutputHash' as const, value: outputHash } : { case: undefined }
      const encoded = getPathInfoRequest.encode(outputHash)
      same(GetPathInfoRequestSchema, { byWhat }, encoded)
      expect(getPathInfoRequest.decode(encoded)).toEqual(outputHash && Buffer.from(outputHash))
    })
    check(fc.record({ narSize: u64, narSha256: digest }), (nar) => {
      const encoded = calculateNarResponse.encode(nar)
      same(CalculateNARResponseSchema, nar, encoded)
      expect(calculateNarResponse.decode(encoded)).toEqual({ ...nar, narSha256: Buffer.from(nar.narSha256) })
    })
  })
})

function fromHex(digits: string): Uint8Array {
  return Buffer.from(digits, 'hex')
}

/** A field that is delimited by its length, with these contents; all in hex. */
function wrap(tag: string, contents: string): string {
  return `${tag}${hex(Uint8Array.of(contents.length / 2))}${contents}`
}
