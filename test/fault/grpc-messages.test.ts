/** What our clients make of servers that break the rules: right bytes, or an error that says what was wrong. */
import { constants } from 'node:http2'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { Digest, EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import {
  blobChunk,
  calculateNarResponse,
  putBlobResponse,
  statBlobResponse,
} from '../../src/model/wire/messages.ts'
import { directoryRpc, pathInfoRpc } from '../../src/model/wire/services.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { concatBytes, utf8 } from '../../src/support/bytes.ts'
import type { ErrorCode } from '../../src/support/errors.ts'
import { GRPC_WINDOW_BYTES } from '../../src/support/limits.ts'
import { collect } from '../support/collect.ts'
import { chain, directoryNode, fileNode, leaf, makeDirectory } from '../support/directories.ts'
import {
  type Behaviour,
  type Behaviours,
  type HostileCall,
  type HostileServer,
  startHostileServer,
} from '../support/hostile-grpc.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import {
  type Client,
  drain,
  openClient,
  outcome,
  RESUMPTIONS,
  RETRIES,
  SHORT_PATIENCE_MS,
  seal,
} from './grpc-client.ts'

const BLOB = pseudoRandom(3_000, 1)
const DIGEST = Digest.of(BLOB)
const PARTS = [BLOB.subarray(0, 1_000), BLOB.subarray(1_000, 1_500), BLOB.subarray(1_500)]
const CHUNKS = PARTS.map((part) => ({ digest: Digest.of(part), size: part.length }))
const OTHER = pseudoRandom(3_000, 2)

interface Row {
  readonly title: string
  readonly server: Behaviours
  readonly ask: (client: Client) => Promise<unknown>
  /** Either what comes out, or the code of the error. */
  readonly value?: unknown
  readonly code?: ErrorCode | readonly ErrorCode[]
  readonly message?: RegExp
  /** How often procedures were called at most. */
  readonly calls?: Readonly<Record<string, number>>
}

async function check({ server, ask, value, code, message, calls }: Row): Promise<void> {
  await using peer = await startHostileServer(server)
  using client = await openClient(peer.address, code === 'deadline' ? { patienceMs: SHORT_PATIENCE_MS } : {})
  const found = await outcome(ask(client))
  if (code === undefined) expect(found).toEqual({ value })
  else {
    expect(found, JSON.stringify(found)).toHaveProperty('code')
    expect([code].flat()).toContain((found as { code: ErrorCode }).code)
    if (message) expect((found as { message: string }).message).toMatch(message)
  }
  expectCalls(peer, calls ?? {})
}

function expectCalls(peer: HostileServer, calls: Readonly<Record<string, number>>): void {
  for (const [procedure, most] of Object.entries(calls))
    expect(peer.calls.get(procedure) ?? 0, procedure).toBeLessThanOrEqual(most)
}

function run(rows: readonly Row[]): void {
  for (const row of rows) test.concurrent(row.title, () => check(row))
}

const chunk = (bytes: Uint8Array) => blobChunk.encode(bytes)
const read = (behaviour: Behaviour): Behaviours => ({ 'BlobService/Read': behaviour })
const readBack = (client: Client) => drain(client.blobs.openRead(DIGEST))
const status = (code: number) => (call: HostileCall) => call.trailersOnly(code, 'because')

/** One behaviour after the other; the last one stays. */
function inTurn(...behaviours: readonly Behaviour[]): Behaviour {
  let turn = 0
  return (call) => behaviours[Math.min(turn++, behaviours.length - 1)]!(call)
}

describe('a blob', () => {
  const serve =
    (...pieces: Uint8Array[]) =>
    (call: HostileCall) =>
      call.answer(...pieces.map(chunk))
  const manyEmpty = Array.from({ length: 50 }, () => new Uint8Array(0))
  run([
    { title: 'in one message', server: read(serve(BLOB)), ask: readBack, value: seal(BLOB) },
    {
      title: 'in messages of one byte',
      server: read(serve(...Array.from(BLOB, (byte) => Uint8Array.of(byte)))),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'between empty messages',
      server: read(serve(...manyEmpty, PARTS[0]!, ...manyEmpty, BLOB.subarray(1_000), ...manyEmpty)),
      ask: readBack,
      value: seal(BLOB),
    },
    { title: 'OK without data', server: read(serve()), ask: readBack, code: 'corrupt' },
    {
      title: 'OK without data where there is none',
      server: read(serve()),
      ask: (client) => drain(client.blobs.openRead(EMPTY_DIGEST)),
      value: seal(new Uint8Array(0)),
    },
    { title: 'OK without headers', server: read(status(0)), ask: readBack, code: 'corrupt' },
    { title: 'one byte less', server: read(serve(BLOB.subarray(1))), ask: readBack, code: 'corrupt' },
    { title: 'one byte more', server: read(serve(BLOB, Uint8Array.of(0))), ask: readBack, code: 'corrupt' },
    { title: 'sent twice', server: read(serve(BLOB, BLOB)), ask: readBack, code: 'corrupt' },
    {
      title: 'another one of the same size',
      server: read(serve(OTHER)),
      ask: readBack,
      code: 'corrupt',
      message: /is corrupt/,
    },
    {
      title: 'its parts in the wrong order',
      server: read(serve(PARTS[1]!, PARTS[0]!, PARTS[2]!)),
      ask: readBack,
      code: 'corrupt',
    },
    {
      title: 'a message that is no protobuf',
      server: read((call) => call.answer(Uint8Array.of(0xff))),
      ask: readBack,
      code: 'corrupt',
      message: /invalid answer/,
    },
    {
      title: 'a field that nobody knows',
      server: read((call) => call.answer(concatBytes([Uint8Array.of(0x50, 7), chunk(BLOB)]))),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'nothing but empty messages, without end',
      server: read(async (call) => {
        call.headers()
        while (!call.gone) {
          await call.message(new Uint8Array(0))
          await new Promise((resolve) => setImmediate(resolve))
        }
      }),
      ask: readBack,
      code: 'deadline',
    },
    {
      title: 'without end where 10 bytes were declared, which is cut at once',
      server: read(async (call) => {
        call.headers()
        for (let sent = 0; !call.gone && sent < 4_000; sent++)
          await call.message(chunk(new Uint8Array(64 * 1024)))
        call.end()
      }),
      ask: (client) => readBlob(client.blobs, DIGEST, 10),
      code: 'corrupt',
    },
    { title: 'silence instead of an answer', server: read(() => {}), ask: readBack, code: 'deadline' },
    {
      title: 'silence after headers',
      server: read((call) => void call.headers()),
      ask: readBack,
      code: 'deadline',
    },
    {
      title: 'silence after a part',
      server: read((call) => call.headers().message(chunk(PARTS[0]!))),
      ask: readBack,
      code: 'deadline',
    },
    { title: 'NOT_FOUND', server: read(status(5)), ask: readBack, value: undefined },
    {
      title: 'NOT_FOUND after a part is no absence',
      server: read(async (call) => {
        await call.headers().message(chunk(PARTS[0]!))
        call.end(5, 'gone')
      }),
      ask: readBack,
      code: 'corrupt',
    },
    {
      title: 'NOT_FOUND after everything is no absence',
      server: read(async (call) => {
        await call.headers().message(chunk(BLOB))
        call.end(5, 'gone')
      }),
      ask: readBack,
      code: 'corrupt',
    },
    {
      title: 'an error after everything',
      server: read(async (call) => {
        await call.headers().message(chunk(BLOB))
        call.end(13, 'oops')
      }),
      ask: readBack,
      code: 'internal',
    },
  ])
})

describe('statuses', () => {
  const rows: readonly [string, number, ErrorCode][] = [
    ['INTERNAL', 13, 'internal'],
    ['UNKNOWN', 2, 'internal'],
    ['a number that is none', 99, 'internal'],
    ['RESOURCE_EXHAUSTED', 8, 'exhausted'],
    ['PERMISSION_DENIED', 7, 'denied'],
    ['UNAUTHENTICATED', 16, 'denied'],
    ['UNIMPLEMENTED', 12, 'unimplemented'],
    ['DATA_LOSS', 15, 'corrupt'],
    ['DEADLINE_EXCEEDED', 4, 'deadline'],
  ]
  run(
    rows.map(([name, number, code]) => ({
      title: `${name} is not retried`,
      server: read(status(number)),
      ask: readBack,
      code,
      message: /because/,
      calls: { 'BlobService/Read': 1 },
    })),
  )
  run(
    (
      [
        ['a percent sign that stands alone, as tonic leaves it', 'b%C3%A4d disk%20100%', /: bäd disk 100%$/],
        ['bytes that are no UTF-8', 'disk %FF%FE full%', /: disk \\xff\\xfe full%$/],
        ['what would reach the terminal', 'one%0Atwo%1B%5B2Jthree', /: one\\x0atwo\\x1b\[2Jthree$/],
      ] as const
    ).map(([title, details, message]) => ({
      title: `a message with ${title} is one line of text`,
      server: read((call: HostileCall) => call.trailersOnly(2, details)),
      ask: readBack,
      code: 'internal' as const,
      message,
    })),
  )
  run([
    {
      title: 'UNAVAILABLE twice, then the blob',
      server: read(inTurn(status(14), status(14), (call) => call.answer(chunk(BLOB)))),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'UNAVAILABLE for ever',
      server: read(status(14)),
      ask: readBack,
      code: 'unavailable',
      calls: { 'BlobService/Read': RETRIES + 1 },
    },
    {
      title: 'UNAVAILABLE for an upload is not retried',
      server: { 'BlobService/Put': status(14) },
      ask: upload,
      code: 'unavailable',
      calls: { 'BlobService/Put': 1 },
    },
    {
      title: 'UNAVAILABLE for a path info to be stored is not retried',
      server: { 'PathInfoService/Put': status(14) },
      ask: (client) => client.pathInfos.put(makePathInfo('a')),
      code: 'unavailable',
      calls: { 'PathInfoService/Put': 1 },
    },
    {
      title: 'UNIMPLEMENTED for Stat is no absence',
      server: {},
      ask: (client) => client.blobs.has(DIGEST),
      code: 'unimplemented',
    },
  ])
})

describe('below the level of messages', () => {
  const html = (code: number) => (call: HostileCall) => {
    call.stream.respond({ ':status': code, 'content-type': 'text/html' })
    call.stream.end('<h1>no</h1>')
  }
  const fine = (call: HostileCall) => call.answer(chunk(BLOB))
  run([
    {
      title: 'a web page with 503, then the blob',
      server: read(inTurn(html(503), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'a web page with 404 is no absence',
      server: read(html(404)),
      ask: readBack,
      code: ['unimplemented', 'internal'],
    },
    {
      title: 'a web page with 200',
      server: read(html(200)),
      ask: readBack,
      code: ['internal', 'exhausted', 'unavailable'],
    },
    {
      title: 'an end without a status',
      server: read(
        (call) =>
          void call.stream.respond(
            { ':status': 200, 'content-type': 'application/grpc' },
            { endStream: true },
          ),
      ),
      ask: readBack,
      code: ['internal', 'unavailable'],
    },
    {
      title: 'a message that ends before its declared length',
      server: read(async (call) => {
        await call.headers().message(chunk(BLOB), 5_000)
        call.end()
      }),
      ask: readBack,
      code: ['corrupt', 'internal'],
    },
    {
      title: 'a message of 4 GiB',
      server: read((call) => call.headers().message(chunk(BLOB), 0xffff_ffff)),
      ask: readBack,
      code: 'exhausted',
    },
    {
      title: 'compressed bytes without a name for the compression',
      server: read((call) =>
        call
          .headers()
          .message(gzipSync(chunk(BLOB)), undefined, true)
          .then(() => call.end()),
      ),
      ask: readBack,
      code: ['internal', 'unimplemented', 'corrupt'],
    },
    {
      title: 'a gzip bomb',
      server: read(async (call) => {
        await call
          .headers({ 'grpc-encoding': 'gzip' })
          .message(gzipSync(new Uint8Array(64 * 1024 * 1024)), undefined, true)
        call.end()
      }),
      ask: readBack,
      code: 'exhausted',
    },
    {
      title: 'REFUSED_STREAM, then the blob',
      server: read(inTurn((call) => call.reset(constants.NGHTTP2_REFUSED_STREAM), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'INTERNAL_ERROR, then the blob',
      server: read(inTurn((call) => call.reset(constants.NGHTTP2_INTERNAL_ERROR), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'PROTOCOL_ERROR, then the blob',
      server: read(inTurn((call) => call.reset(constants.NGHTTP2_PROTOCOL_ERROR), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'CANCEL, then the blob',
      server: read(inTurn((call) => call.reset(constants.NGHTTP2_CANCEL), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'ENHANCE_YOUR_CALM',
      server: read((call) => call.reset(constants.NGHTTP2_ENHANCE_YOUR_CALM)),
      ask: readBack,
      code: 'exhausted',
    },
    {
      title: 'GOAWAY before the answer, then the blob',
      server: read(inTurn((call) => call.session.destroy(), fine)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'GOAWAY in the middle, and the stream goes on',
      server: read(async (call) => {
        await call.headers().message(chunk(PARTS[0]!))
        call.session.goaway(0)
        await call.message(chunk(BLOB.subarray(1_000)))
        call.end()
      }),
      ask: readBack,
      value: seal(BLOB),
    },
  ])
})

describe('a blob that breaks off', () => {
  /** Sends the first `bytes` of what was asked for. */
  const breakAfter = (bytes: number) => async (call: HostileCall) => {
    await call.headers().message(chunk(BLOB.subarray(0, bytes)))
    call.end(14, 'broke off')
  }
  const wanted = (call: HostileCall) => Digest.fromBytes(call.requests[0]!.subarray(2)).key
  const serveAll = (call: HostileCall) => {
    const part = [BLOB, ...PARTS].find((bytes) => Digest.of(bytes).key === wanted(call))
    return part ? call.answer(chunk(part)) : call.trailersOnly(5, 'absent')
  }
  const listed =
    (chunks = CHUNKS): Behaviour =>
    (call) =>
      call.answer(statBlobResponse.encode(chunks))
  const on = (stat: Behaviour | undefined, ...reads: Behaviour[]): Behaviours => ({
    'BlobService/Read': inTurn(...reads),
    ...(stat && { 'BlobService/Stat': stat }),
  })
  const onlyWhole =
    (whole: Behaviour): Behaviour =>
    (call) =>
      wanted(call) === DIGEST.key ? whole(call) : call.trailersOnly(5, 'absent')
  run([
    {
      title: 'at its first byte is read again',
      server: on(listed(), (call) => call.reset(), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Stat': 0, 'BlobService/Read': 2 },
    },
    {
      title: 'goes on with the chunk it broke in',
      server: on(listed(), breakAfter(1_200), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Stat': 1, 'BlobService/Read': 3 },
    },
    {
      title: 'goes on with the next chunk at the seam of two',
      server: on(listed(), breakAfter(1_500), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Read': 2 },
    },
    {
      title: 'at its end is complete',
      server: on(listed(), breakAfter(3_000), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Read': 1 },
    },
    {
      title: 'is read again where Stat is not implemented',
      server: on(undefined, breakAfter(1_200), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Read': 2 },
    },
    {
      title: 'is read again where it has no chunks',
      server: on(listed([]), breakAfter(1_200), serveAll),
      ask: readBack,
      value: seal(BLOB),
      calls: { 'BlobService/Read': 2 },
    },
    {
      title: 'is read again where chunks are listed but not served',
      server: on(listed(), breakAfter(1_200), onlyWhole(serveAll)),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'several times, a little later each time',
      server: on(listed([]), breakAfter(500), breakAfter(900), breakAfter(2_000), serveAll),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'earlier than the time before',
      server: on(listed([]), breakAfter(2_000), breakAfter(500), serveAll),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'every time is given up',
      server: on(listed([]), breakAfter(1_000)),
      ask: readBack,
      code: 'unavailable',
      message: /broke off/,
      calls: { 'BlobService/Read': RESUMPTIONS + 1 },
    },
    {
      title: 'and is another one then',
      server: on(listed([]), breakAfter(1_200), (call) => call.answer(chunk(OTHER))),
      ask: readBack,
      code: 'corrupt',
      message: /is corrupt/,
    },
    {
      title: 'and is shorter then',
      server: on(listed([]), breakAfter(1_200), (call) => call.answer(chunk(BLOB.subarray(0, 1_000)))),
      ask: readBack,
      code: 'corrupt',
      message: /shorter than it was before/,
    },
    {
      title: 'and is absent then is no absence',
      server: on(status(5), breakAfter(1_200), status(5)),
      ask: readBack,
      code: 'unavailable',
    },
    {
      title: 'and is absent in whole then is no absence',
      server: on(listed([]), breakAfter(1_200), status(5)),
      ask: readBack,
      code: 'unavailable',
    },
    {
      title: 'with a list of another blob',
      server: on(
        listed([{ digest: Digest.of(OTHER), size: 1_500 }, CHUNKS[2]!]),
        breakAfter(1_200),
        (call) => call.answer(chunk(OTHER.subarray(0, 1_500))),
        serveAll,
      ),
      ask: readBack,
      code: 'corrupt',
      message: /is corrupt/,
    },
    {
      title: 'with a list that lies about sizes, above',
      server: on(listed([{ ...CHUNKS[0]!, size: 1_400 }, ...CHUNKS.slice(1)]), breakAfter(1_200), serveAll),
      ask: readBack,
      code: 'corrupt',
      message: /shorter than/,
    },
    {
      title: 'with a list that lies about sizes, below',
      server: on(listed([CHUNKS[0]!, { ...CHUNKS[1]!, size: 300 }, CHUNKS[2]!]), breakAfter(1_200), serveAll),
      ask: readBack,
      code: 'corrupt',
      message: /longer than its list says/,
    },
    {
      title: 'with a list that ends too early',
      server: on(listed([CHUNKS[0]!, CHUNKS[1]!]), breakAfter(1_200), serveAll),
      ask: readBack,
      code: 'corrupt',
      message: /is corrupt/,
    },
    {
      title: 'with a list that contains the blob itself',
      server: on(listed([{ digest: DIGEST, size: 3_000 }, CHUNKS[0]!]), breakAfter(1_200), serveAll),
      ask: readBack,
      code: 'corrupt',
      message: /chunk list/,
    },
    {
      title: 'and breaks off again in a chunk',
      server: on(
        listed(),
        breakAfter(1_200),
        (call) => call.reset(),
        (call) => call.reset(),
        serveAll,
      ),
      ask: readBack,
      value: seal(BLOB),
    },
    {
      title: 'where the list is not to be had',
      server: on(status(14), breakAfter(1_200), serveAll),
      ask: readBack,
      code: 'unavailable',
      calls: { 'BlobService/Stat': RETRIES + 1 },
    },
  ])
})

describe('a chunk list', () => {
  const stat = (...messages: Uint8Array[]): Behaviours => ({
    'BlobService/Stat': (call) => call.answer(...messages),
  })
  const ask = (client: Client) => client.blobs.chunks(DIGEST)
  const meta = (digestBytes: number, size: number[]) =>
    concatBytes([
      Uint8Array.of(0x12, 2 + digestBytes + 1 + size.length, 0x0a, digestBytes),
      new Uint8Array(digestBytes),
      Uint8Array.of(0x10, ...size),
    ])
  run([
    {
      title: 'OK without a message is no absence',
      server: stat(),
      ask,
      code: 'corrupt',
      message: /without a message/,
    },
    {
      title: 'OK without headers is no absence',
      server: { 'BlobService/Stat': status(0) },
      ask: (client) => client.blobs.has(DIGEST),
      code: 'corrupt',
    },
    {
      title: 'two answers',
      server: stat(statBlobResponse.encode(CHUNKS), statBlobResponse.encode([])),
      ask,
      code: 'corrupt',
      message: /more than one message/,
    },
    {
      title: 'an answer and NOT_FOUND is no absence',
      server: {
        'BlobService/Stat': async (call) => {
          await call.headers().message(new Uint8Array(0))
          call.end(5, 'gone')
        },
      },
      ask: (client) => client.blobs.has(DIGEST),
      code: 'corrupt',
    },
    { title: 'a digest of 31 bytes', server: stat(meta(31, [1])), ask, code: 'corrupt' },
    {
      title: 'a chunk of 2^63 bytes',
      server: stat(meta(32, [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1])),
      ask,
      code: 'corrupt',
    },
    {
      title: 'a chunk of no bytes',
      server: stat(statBlobResponse.encode([{ ...CHUNKS[0]!, size: 0 }, CHUNKS[1]!])),
      ask,
      code: 'corrupt',
    },
    {
      title: 'one chunk that is another blob',
      server: stat(statBlobResponse.encode([CHUNKS[0]!])),
      ask,
      code: 'corrupt',
    },
    {
      title: 'the blob beside other chunks',
      server: stat(statBlobResponse.encode([{ digest: DIGEST, size: 1 }, CHUNKS[0]!])),
      ask,
      code: 'corrupt',
    },
    {
      title: 'chunks of the empty blob',
      server: stat(statBlobResponse.encode(CHUNKS)),
      ask: (client) => client.blobs.chunks(EMPTY_DIGEST),
      code: 'corrupt',
    },
  ])
})

async function upload(client: Client): Promise<string> {
  const writer = client.blobs.openWrite()
  await writer.write(BLOB)
  return (await writer.close()).hex
}

describe('the answer to an upload', () => {
  const put = (...messages: Uint8Array[]): Behaviours => ({
    'BlobService/Put': (call) => call.answer(...messages),
  })
  const [bottom, top] = chain(2) as [Directory, Directory]
  const uploadDirectories = async (client: Client) => {
    const putter = client.directories.startPutter()
    for (const directory of [bottom, top]) await putter.put(directory)
    return putter.close()
  }
  const putDirectory = (digest: Digest): Behaviours => ({
    'DirectoryService/Put': (call) => call.answer(directoryRpc.methods.Put.response.encode(digest)),
  })
  const putPathInfo = (label: string): Behaviours => ({
    'PathInfoService/Put': (call) =>
      call.answer(pathInfoRpc.methods.Put.response.encode(makePathInfo(label))),
  })
  run([
    {
      title: 'the right digest',
      server: put(putBlobResponse.encode(DIGEST)),
      ask: upload,
      value: DIGEST.hex,
    },
    {
      title: 'the digest of something else',
      server: put(putBlobResponse.encode(Digest.of(OTHER))),
      ask: upload,
      code: 'corrupt',
    },
    {
      title: 'a digest of 4 bytes',
      server: put(Uint8Array.of(0x0a, 4, 1, 2, 3, 4)),
      ask: upload,
      code: 'corrupt',
    },
    { title: 'no digest', server: put(new Uint8Array(0)), ask: upload, code: 'corrupt' },
    { title: 'no message', server: put(), ask: upload, code: 'corrupt' },
    {
      title: 'two digests',
      server: put(putBlobResponse.encode(DIGEST), putBlobResponse.encode(DIGEST)),
      ask: upload,
      code: 'corrupt',
    },
    { title: 'silence', server: { 'BlobService/Put': () => {} }, ask: upload, code: 'deadline' },
    {
      title: 'a reset',
      server: { 'BlobService/Put': (call) => call.reset() },
      ask: upload,
      code: 'unavailable',
      calls: { 'BlobService/Put': 1 },
    },
    {
      title: 'directories: not the root',
      server: putDirectory(bottom.digest),
      ask: uploadDirectories,
      code: 'corrupt',
    },
    {
      title: 'directories: one of no upload',
      server: putDirectory(DIGEST),
      ask: (client) => client.directories.put(bottom),
      code: 'corrupt',
    },
    {
      title: 'a path info of another path',
      server: putPathInfo('b'),
      ask: (client) => client.pathInfos.put(makePathInfo('a')),
      code: 'corrupt',
    },
  ])
})

describe('directories', () => {
  const [bottom, middle, root] = chain(3) as [Directory, Directory, Directory]
  const get = (...directories: (Directory | Uint8Array)[]): Behaviours => ({
    'DirectoryService/Get': (call) =>
      call.answer(...directories.map((item) => (item instanceof Directory ? item.encoded : item))),
  })
  const one = async (client: Client) => (await client.directories.get(root.digest))?.digest.hex
  const closure = async (client: Client) =>
    (await collect(client.directories.getRecursive(root.digest))).map(({ digest }) => digest.hex)
  const all = [root, middle, bottom].map(({ digest }) => digest.hex)
  const lying = makeDirectory({ d: { ...directoryNode(bottom), size: 77n } as never })
  const twins = makeDirectory({ a: directoryNode(bottom), b: directoryNode(bottom) })
  const file = (name: string) => {
    const bytes = Buffer.from(makeDirectory({ xxxx: fileNode('x') }).encoded)
    bytes.write(name, bytes.indexOf('xxxx'), 'latin1')
    return bytes
  }
  run([
    { title: 'the one that was asked for', server: get(root), ask: one, value: root.digest.hex },
    { title: 'another one', server: get(middle), ask: one, code: 'corrupt' },
    {
      title: 'nothing, and OK, is no absence',
      server: get(),
      ask: one,
      code: 'corrupt',
      message: /nothing was sent/,
    },
    { title: 'NOT_FOUND', server: { 'DirectoryService/Get': status(5) }, ask: one, value: undefined },
    { title: 'what is no directory', server: get(Uint8Array.of(0xff, 0xff)), ask: one, code: 'corrupt' },
    { title: 'a name with a slash', server: get(file('a/bc')), ask: one, code: 'corrupt' },
    { title: 'a name with a NUL', server: get(file('a\0bc')), ask: one, code: 'corrupt' },
    {
      title: 'names out of order',
      server: get(
        concatBytes([
          makeDirectory({ b: fileNode('b') }).encoded,
          makeDirectory({ a: fileNode('a') }).encoded,
        ]),
      ),
      ask: one,
      code: 'corrupt',
    },
    {
      title: 'a name that comes twice',
      server: get(concatBytes([root.encoded, root.encoded])),
      ask: one,
      code: 'corrupt',
    },
    { title: 'a closure in order', server: get(root, middle, bottom), ask: closure, value: all },
    {
      title: 'a closure with duplicates',
      server: get(root, middle, middle, root, bottom, bottom),
      ask: closure,
      value: all,
    },
    {
      title: 'a closure that lacks a directory',
      server: get(root, middle),
      ask: closure,
      code: 'corrupt',
      message: /missing/,
    },
    {
      title: 'a closure that begins at a child',
      server: get(middle, bottom),
      ask: closure,
      code: 'corrupt',
      message: /unexpected/,
    },
    {
      title: 'a closure with a directory of another',
      server: get(root, middle, leaf('stranger')),
      ask: closure,
      code: 'corrupt',
      message: /unexpected/,
    },
    {
      title: 'a closure from the leaves to the root',
      server: get(bottom, middle, root),
      ask: closure,
      code: 'corrupt',
    },
    {
      title: 'a closure with a wrong size',
      server: get(lying, bottom),
      ask: (client) => collect(client.directories.getRecursive(lying.digest)),
      code: 'corrupt',
      message: /wrong size/,
    },
    {
      title: 'a closure that refers to a directory twice',
      server: get(twins, bottom),
      ask: async (client) => (await collect(client.directories.getRecursive(twins.digest))).length,
      value: 2,
    },
    { title: 'a closure without anything is absent', server: get(), ask: closure, value: [] },
    {
      title: 'NOT_FOUND for a closure is absence too',
      server: { 'DirectoryService/Get': status(5) },
      ask: closure,
      value: [],
    },
    {
      title: 'a closure that ends with NOT_FOUND is no absence',
      server: {
        'DirectoryService/Get': async (call) => {
          await call.headers().message(root.encoded)
          call.end(5, 'child not found')
        },
      },
      ask: closure,
      code: 'corrupt',
    },
    {
      title: 'a closure that breaks off is not begun again',
      server: {
        'DirectoryService/Get': async (call) => {
          await call.headers().message(root.encoded)
          call.end(14, 'broke off')
        },
      },
      ask: closure,
      code: 'unavailable',
      calls: { 'DirectoryService/Get': 1 },
    },
  ])
})

describe('path infos', () => {
  const pathInfo = makePathInfo('a')
  const encoded = pathInfoRpc.methods.Get.response.encode(pathInfo)
  const get = (...messages: Uint8Array[]): Behaviours => ({
    'PathInfoService/Get': (call) => call.answer(...messages),
  })
  const list = (behaviour: Behaviour): Behaviours => ({ 'PathInfoService/List': behaviour })
  const ask = async (client: Client) =>
    (await client.pathInfos.get(pathInfo.storePath.digest))?.storePath.toString()
  const listAll = (client: Client) => collect(client.pathInfos.list())
  const shortReference = concatBytes([encoded, Uint8Array.of(0x12, 19), new Uint8Array(19)])
  const narHash = calculateNarResponse.encode({ narSize: 1n, narSha256: new Uint8Array(31) })
  run([
    { title: 'the one that was asked for', server: get(encoded), ask, value: pathInfo.storePath.toString() },
    {
      title: 'that of another path',
      server: get(pathInfoRpc.methods.Get.response.encode(makePathInfo('b'))),
      ask,
      code: 'corrupt',
    },
    { title: 'OK without a message is no absence', server: get(), ask, code: 'corrupt' },
    { title: 'one without anything', server: get(new Uint8Array(0)), ask, code: 'corrupt' },
    { title: 'a reference of 19 bytes', server: get(shortReference), ask, code: 'corrupt' },
    { title: 'what is no protobuf', server: get(utf8('{"json": true}')), ask, code: 'corrupt' },
    {
      title: 'a list with one that is invalid',
      server: list((call) => call.answer(encoded, shortReference, encoded)),
      ask: listAll,
      code: 'corrupt',
    },
    {
      title: 'a list that breaks off is no shorter list',
      server: list(async (call) => {
        await call.headers().message(encoded)
        call.reset()
      }),
      ask: listAll,
      code: 'unavailable',
      calls: { 'PathInfoService/List': 1 },
    },
    {
      title: 'a NAR hash of 31 bytes',
      server: { 'PathInfoService/CalculateNAR': (call) => call.answer(narHash) },
      ask: (client) => client.narCalculation.calculateNar(pathInfo.node),
      code: 'corrupt',
    },
  ])
})

test('a blob without end is cut before it fills the memory, or even the windows', async () => {
  let sent = 0
  const ended = Promise.withResolvers<void>()
  const endless: Behaviour = async (call) => {
    call.headers()
    for (; !call.gone && sent < 1_000 * 1024 * 1024; sent += 64 * 1024)
      await call.message(chunk(new Uint8Array(64 * 1024)))
    ended.resolve()
  }
  await using peer = await startHostileServer(read(endless))
  using client = await openClient(peer.address)
  expect(await outcome(readBlob(client.blobs, DIGEST, 10))).toMatchObject({ code: 'corrupt' })
  await ended.promise
  expect(sent).toBeLessThan(4 * GRPC_WINDOW_BYTES)
})

test('negative control: what is not verified lets wrong bytes through', async () => {
  const { grpcBlobService } = await import('../../src/services/blobs/grpc.ts')
  await using peer = await startHostileServer(read((call) => call.answer(chunk(OTHER))))
  using client = await openClient(peer.address)
  expect(await outcome(drain(grpcBlobService(client.channel).openRead(DIGEST)))).toEqual({
    value: seal(OTHER),
  })
})
