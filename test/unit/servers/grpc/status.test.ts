import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import { pathComponent } from '../../../../src/model/castore/path-component.ts'
import { blobChunk } from '../../../../src/model/wire/messages.ts'
import { FAMILIES } from '../../../../src/model/wire/rpc.ts'
import type { BlobService } from '../../../../src/services/blobs/interface.ts'
import type { DirectoryService } from '../../../../src/services/directories/interface.ts'
import { type ErrorCode, MissingError, StoreError } from '../../../../src/support/errors.ts'
import { startTestServer, type TestServer } from '../../../support/grpc-server.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import { vectors } from '../../../support/vectors.ts'
import { type RawClient, rawClient } from './raw-client.ts'

const hexBytes = (text: string) => Buffer.from(text, 'hex')
const digestField = (digest: Digest) => hexBytes(`0a20${digest.hex}`)

const BLOB = Buffer.from('x86_64-linux')
const ABSENT = Digest.of(Buffer.from('nobody has this'))
const EMPTY_BYTES = new Uint8Array(0)
const LEAF = Directory.from([])
const BRANCH = directoryOver(LEAF, LEAF.size('rust'))
const WRONG_SIZE = directoryOver(LEAF, 42n)
const PATH_INFO = hexBytes(vectors.pathinfo.valid[0].proto_hex)
const THIN = PATH_INFO.subarray(0, 78) // node alone: no narinfo

function directoryOver(child: Directory, size: bigint): Directory {
  const node = { kind: 'directory', digest: child.digest, size } as const
  return Directory.from([{ name: pathComponent(Buffer.from('a')), node }])
}

interface Row {
  readonly what: string
  readonly method: string
  readonly send: readonly Uint8Array[]
  readonly code: string
  readonly details?: string | RegExp
  readonly messages?: readonly Uint8Array[]
  readonly headers?: boolean
}

/** Appendix A of the wire specification, with the improvements of its §11. */
const ROWS: readonly Row[] = [
  {
    what: 'Stat: digest length',
    method: 'castore.v1.BlobService/Stat',
    send: [hexBytes('0a0161')],
    code: 'INVALID_ARGUMENT',
    details: 'invalid digest length',
  },
  {
    what: 'Stat: absent',
    method: 'castore.v1.BlobService/Stat',
    send: [digestField(ABSENT)],
    code: 'NOT_FOUND',
    details: `blob ${ABSENT} not found`,
  },
  {
    what: 'Stat: present, whole',
    method: 'castore.v1.BlobService/Stat',
    send: [digestField(Digest.of(BLOB))],
    code: 'OK',
    messages: [EMPTY_BYTES],
  },
  {
    what: 'Stat: no protobuf',
    method: 'castore.v1.BlobService/Stat',
    send: [hexBytes('ffff')],
    code: 'INVALID_ARGUMENT',
    details: /not a valid protobuf message/,
  },
  {
    what: 'Read: digest length',
    method: 'castore.v1.BlobService/Read',
    send: [hexBytes('')],
    code: 'INVALID_ARGUMENT',
    details: 'invalid digest length',
  },
  {
    what: 'Read: absent',
    method: 'castore.v1.BlobService/Read',
    send: [digestField(ABSENT)],
    code: 'NOT_FOUND',
    details: `blob ${ABSENT} not found`,
    headers: false,
  },
  {
    what: 'Read: present',
    method: 'castore.v1.BlobService/Read',
    send: [digestField(Digest.of(BLOB))],
    code: 'OK',
    messages: [blobChunk.encode(BLOB)],
  },
  {
    what: 'Read: an empty blob is no message',
    method: 'castore.v1.BlobService/Read',
    send: [digestField(Digest.of(EMPTY_BYTES))],
    code: 'OK',
    messages: [],
  },
  {
    what: 'Put: pieces and empty messages',
    method: 'castore.v1.BlobService/Put',
    send: [blobChunk.encode(BLOB.subarray(0, 3)), EMPTY_BYTES, blobChunk.encode(BLOB.subarray(3))],
    code: 'OK',
    messages: [digestField(Digest.of(BLOB))],
  },
  {
    what: 'Put: an empty stream is the empty blob',
    method: 'castore.v1.BlobService/Put',
    send: [],
    code: 'OK',
    messages: [digestField(Digest.of(EMPTY_BYTES))],
  },
  {
    what: 'Get directory: by_what unset',
    method: 'castore.v1.DirectoryService/Get',
    send: [EMPTY_BYTES],
    code: 'INVALID_ARGUMENT',
    details: 'invalid by_what',
  },
  {
    what: 'Get directory: digest length',
    method: 'castore.v1.DirectoryService/Get',
    send: [hexBytes('0a00')],
    code: 'INVALID_ARGUMENT',
    details: 'invalid digest length',
  },
  {
    what: 'Get directory: absent, told after the headers',
    method: 'castore.v1.DirectoryService/Get',
    send: [digestField(ABSENT)],
    code: 'NOT_FOUND',
    details: `directory ${ABSENT} not found`,
    headers: true,
  },
  {
    what: 'Get directory: present',
    method: 'castore.v1.DirectoryService/Get',
    send: [digestField(BRANCH.digest)],
    code: 'OK',
    messages: [BRANCH.encoded],
  },
  {
    what: 'Get directory, recursive: root absent',
    method: 'castore.v1.DirectoryService/Get',
    send: [Buffer.concat([digestField(ABSENT), hexBytes('1001')])],
    code: 'OK',
    messages: [],
  },
  {
    what: 'Get directory, recursive: root to leaves',
    method: 'castore.v1.DirectoryService/Get',
    send: [Buffer.concat([digestField(BRANCH.digest), hexBytes('1001')])],
    code: 'OK',
    messages: [BRANCH.encoded, LEAF.encoded],
  },
  {
    what: 'Put directory: leaves to root',
    method: 'castore.v1.DirectoryService/Put',
    send: [LEAF.encoded, LEAF.encoded, BRANCH.encoded],
    code: 'OK',
    messages: [digestField(BRANCH.digest)],
  },
  {
    what: 'Put directory: invalid',
    method: 'castore.v1.DirectoryService/Put',
    send: [hexBytes(vectors.directory_messages.invalid[0].proto_hex)],
    code: 'INVALID_ARGUMENT',
    details: /^Invalid name: /,
  },
  {
    what: 'Put directory: child was not sent',
    method: 'castore.v1.DirectoryService/Put',
    send: [BRANCH.encoded],
    code: 'INVALID_ARGUMENT',
  },
  {
    what: 'Put directory: wrong size of a child',
    method: 'castore.v1.DirectoryService/Put',
    send: [LEAF.encoded, WRONG_SIZE.encoded],
    code: 'INVALID_ARGUMENT',
    details: /wrong size/,
  },
  {
    what: 'Put directory: empty stream',
    method: 'castore.v1.DirectoryService/Put',
    send: [],
    code: 'INVALID_ARGUMENT',
  },
  {
    what: 'Get path info: by_what unset',
    method: 'store.v1.PathInfoService/Get',
    send: [EMPTY_BYTES],
    code: 'UNIMPLEMENTED',
    details: 'by_what needs to be specified',
  },
  {
    what: 'Get path info: digest length',
    method: 'store.v1.PathInfoService/Get',
    send: [hexBytes('0a0161')],
    code: 'INVALID_ARGUMENT',
    details: 'invalid output digest length',
  },
  {
    what: 'Get path info: absent',
    method: 'store.v1.PathInfoService/Get',
    send: [hexBytes(`0a14${'ab'.repeat(20)}`)],
    code: 'NOT_FOUND',
    details: 'PathInfo not found',
  },
  {
    what: 'Put path info: what was stored',
    method: 'store.v1.PathInfoService/Put',
    send: [PATH_INFO],
    code: 'OK',
    messages: [PATH_INFO],
  },
  {
    what: 'Put path info: invalid',
    method: 'store.v1.PathInfoService/Put',
    send: [THIN],
    code: 'INVALID_ARGUMENT',
    details: 'Invalid path info: The narinfo field is missing',
  },
  {
    what: 'List path infos',
    method: 'store.v1.PathInfoService/List',
    send: [EMPTY_BYTES],
    code: 'OK',
    messages: [PATH_INFO],
  },
  {
    what: 'CalculateNAR: no node',
    method: 'store.v1.PathInfoService/CalculateNAR',
    send: [EMPTY_BYTES],
    code: 'INVALID_ARGUMENT',
    details: 'invalid root node',
  },
  {
    what: 'CalculateNAR: named node',
    method: 'store.v1.PathInfoService/CalculateNAR',
    send: [hexBytes('1a080a03666f6f120178')],
    code: 'INVALID_ARGUMENT',
    details: 'invalid root node',
  },
  {
    what: 'CalculateNAR: anonymous node',
    method: 'store.v1.PathInfoService/CalculateNAR',
    send: [hexBytes('1a03120178')],
    code: 'OK',
    messages: [hexBytes(`0888011220${'07'.repeat(32)}`)],
  },
  { what: 'an unknown method', method: 'castore.v1.BlobService/Delete', send: [], code: 'UNIMPLEMENTED' },
  { what: 'an unknown service', method: 'castore.v1.NoService/Get', send: [], code: 'UNIMPLEMENTED' },
]

async function fill(client: RawClient): Promise<void> {
  await client.call('/tvix.castore.v1.BlobService/Put', blobChunk.encode(BLOB))
  await client.call('/tvix.castore.v1.BlobService/Put')
  await client.call('/tvix.castore.v1.DirectoryService/Put', LEAF.encoded, BRANCH.encoded)
  await client.call('/tvix.store.v1.PathInfoService/Put', PATH_INFO)
}

describe.each(['TCP', 'unix'])('over %s', (transport) => {
  let server: TestServer
  let client: RawClient
  let dir: Awaited<ReturnType<typeof tempDir>>

  beforeAll(async () => {
    dir = await tempDir()
    server = await startTestServer(transport === 'unix' ? `${dir.path}/socket` : '127.0.0.1:0')
    client = rawClient(transport === 'unix' ? `unix:${server.bound}` : server.bound)
    await fill(client)
  })

  afterAll(async () => {
    client[Symbol.dispose]()
    await server[Symbol.asyncDispose]()
    await dir[Symbol.asyncDispose]()
  })

  describe.each(FAMILIES)('%s', (family) => {
    test.each(ROWS)('$what', async ({ method, send, code, details, messages, headers }) => {
      const answer = await client.call(`/${family}.${method}`, ...send)
      expect(answer.code, answer.details).toBe(code)
      if (details !== undefined) expect(answer.details).toMatch(details)
      if (typeof details === 'string') expect(answer.details).toBe(details)
      if (messages)
        expect(answer.messages.map(String)).toEqual(messages.map((m) => Buffer.from(m).toString()))
      if (headers !== undefined) expect(answer.headers).toBe(headers)
    })
  })
})

describe('what fails behind the server', () => {
  const failing = (code: ErrorCode) => {
    const fail = () => Promise.reject(new StoreError(code, 'the bucket said no'))
    const blobs = {
      has: fail,
      chunks: fail,
      openRead: fail,
      openWrite: () => ({ write: fail, close: fail, abort: async () => {} }),
    } satisfies BlobService
    const directories = {
      get: fail,
      // biome-ignore lint/correctness/useYield: it fails before the first one
      async *getRecursive() {
        await fail()
      },
      put: fail,
      startPutter: () => ({ put: fail, close: fail }),
    } satisfies DirectoryService
    return { blobs, directories }
  }

  test.each([
    ['unavailable', 'UNAVAILABLE'],
    ['corrupt', 'DATA_LOSS'],
    ['deadline', 'DEADLINE_EXCEEDED'],
    ['internal', 'INTERNAL'],
    // Of something that the service needs: a bucket, a file.
    ['not-found', 'FAILED_PRECONDITION'],
  ] as const)('%s is %s and never NOT_FOUND', async (code, expected) => {
    await using server = await startTestServer('127.0.0.1:0', failing(code))
    using client = rawClient(server.bound)
    const recursive = Buffer.concat([digestField(ABSENT), hexBytes('1001')])
    const calls: [string, Uint8Array][] = [
      ['BlobService/Stat', digestField(ABSENT)],
      ['BlobService/Read', digestField(ABSENT)],
      ['BlobService/Put', blobChunk.encode(BLOB)],
      ['DirectoryService/Get', digestField(ABSENT)],
      ['DirectoryService/Get', recursive],
      ['DirectoryService/Put', LEAF.encoded],
    ]
    for (const [method, request] of calls) {
      const answer = await client.call(`/tvix.castore.v1.${method}`, request)
      expect([method, answer.code, answer.details]).toEqual([
        method,
        expected,
        expect.stringContaining('the bucket said no'),
      ])
    }
  })

  test('CalculateNAR of contents that are not here is NOT_FOUND, of damaged ones DATA_LOSS', async () => {
    const missing = new MissingError(`blob ${ABSENT}`)
    const damaged = new StoreError('corrupt', 'other bytes')
    for (const [error, code] of [
      [missing, 'NOT_FOUND'],
      [damaged, 'DATA_LOSS'],
    ] as const) {
      const narCalculation = { calculateNar: () => Promise.reject(error) }
      await using server = await startTestServer('127.0.0.1:0', { narCalculation })
      using client = rawClient(server.bound)
      const answer = await client.call('/tvix.store.v1.PathInfoService/CalculateNAR', hexBytes('1a03120178'))
      expect(answer).toMatchObject({ code, details: error.message })
    }
  })

  test('a failed upload is given up', async () => {
    let aborted = 0
    const { blobs } = failing('exhausted')
    const openWrite = () => ({ ...blobs.openWrite(), abort: async () => void aborted++ })
    await using server = await startTestServer('127.0.0.1:0', { blobs: { ...blobs, openWrite } })
    using client = rawClient(server.bound)
    const answer = await client.call('/tvix.castore.v1.BlobService/Put', blobChunk.encode(BLOB))
    expect(answer).toMatchObject({ code: 'RESOURCE_EXHAUSTED', details: 'error copying: the bucket said no' })
    expect(aborted).toBe(1)
  })
})
