/** What a server tells of its calls: a line each at debug, numbers, and the trace they belong to. */
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { blobChunk, statBlobRequest } from '../../../../src/model/wire/messages.ts'
import { startMetricsServer } from '../../../../src/servers/metrics/server.ts'
import { grpcBlobService } from '../../../../src/services/blobs/grpc.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import type { Logger } from '../../../../src/support/log.ts'
import { startTestServer } from '../../../support/grpc-server.ts'
import { rawClient } from './raw-client.ts'

const STAT = '/tvix.castore.v1.BlobService/Stat'
const PUT = '/snix.castore.v1.BlobService/Put'
const ABSENT = Digest.of(Buffer.from('absent'))
const STAT_ABSENT = Buffer.from(statBlobRequest.encode({ digest: ABSENT.bytes, sendChunks: false }))
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const TRACEPARENT = `00-${TRACE}-00f067aa0ba902b7-01`
const same = (bytes: Buffer) => bytes

type Line = Record<string, unknown> & { readonly level: string; readonly message: string }

function recordingLogger(): { logger: Logger; lines: Line[] } {
  const lines: Line[] = []
  const at = (level: string) => (fields: object, message: string) =>
    void lines.push({ ...fields, level, message })
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { logger: logger as unknown as Logger, lines }
}

/** A call with metadata, to its end. */
function stat(target: string, headers: Record<string, string>): Promise<void> {
  const client = new Client(target, credentials.createInsecure())
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return new Promise((resolve) =>
    client.makeUnaryRequest(STAT, same, same, STAT_ABSENT, metadata, () => {
      client.close()
      resolve()
    }),
  )
}

describe('the log', () => {
  test('has a line for each call, with neither contents nor metadata', async () => {
    const { logger, lines } = recordingLogger()
    await using server = await startTestServer('127.0.0.1:0', { logger })
    using client = rawClient(server.bound)
    await client.call(PUT, blobChunk.encode(Buffer.from('secret contents')))
    await stat(server.bound, { authorization: 'Bearer secret-token' })
    expect(lines.map(({ ms: _, peer, ...line }) => ({ ...line, hasPeer: peer !== undefined }))).toEqual([
      {
        level: 'debug',
        message: 'a call ended',
        procedure: PUT.slice(1),
        status: 'OK',
        received_bytes: 17,
        sent_bytes: 34,
        hasPeer: true,
      },
      {
        level: 'debug',
        message: 'a call ended',
        procedure: STAT.slice(1),
        status: 'NOT_FOUND',
        reason: `blob ${ABSENT} not found`,
        received_bytes: STAT_ABSENT.length,
        sent_bytes: 0,
        hasPeer: true,
      },
    ])
    expect(JSON.stringify(lines)).not.toContain('secret')
  })

  test('shows the trace of a call, and what fails is a warning too', async () => {
    const { logger, lines } = recordingLogger()
    const blobs = {
      ...memoryBlobService(),
      chunks: async () => Promise.reject(new StoreError('corrupt', 'the disk lies')),
    }
    await using server = await startTestServer('127.0.0.1:0', { logger, blobs })
    await stat(server.bound, { traceparent: TRACEPARENT })
    await stat(server.bound, { traceparent: 'nonsense' })
    const [warning, line, , untraced] = lines
    expect(warning).toMatchObject({ level: 'warn', code: 'corrupt', message: 'a call failed' })
    expect(line).toMatchObject({ level: 'debug', status: 'DATA_LOSS', traceparent: warning!['traceparent'] })
    expect(line!['traceparent']).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`))
    expect(line!['traceparent']).not.toBe(TRACEPARENT)
    expect(untraced).not.toHaveProperty('traceparent')
  })
})

test('a server passes the trace on to the server behind it', async () => {
  const { logger, lines } = recordingLogger()
  await using back = await startTestServer('127.0.0.1:0', { logger })
  await using front = await startTestServer('127.0.0.1:0', { blobs: grpcBlobService(back.channel) })
  await stat(front.bound, { traceparent: TRACEPARENT })
  const traced = lines.filter(({ traceparent }) => traceparent !== undefined)
  expect(traced).toHaveLength(1)
  expect(traced[0]!['traceparent']).toContain(TRACE)
})

describe('metrics', () => {
  test('calls are counted by service, method and status, with bytes and time', async () => {
    await using server = await startTestServer()
    using client = rawClient(server.bound)
    await client.call(PUT, blobChunk.encode(Buffer.from('x')))
    await client.call(PUT, blobChunk.encode(Buffer.from('x')))
    await client.call(STAT, STAT_ABSENT)
    await client.call(STAT, Buffer.from([0xff]))
    const metrics = await startMetricsServer('127.0.0.1:0', server.server.metrics)
    const text = await (await fetch(`http://${metrics.address}/metrics`)).text()
    metrics.close()
    const put = 'service="snix.castore.v1.BlobService",method="Put"'
    const statted = 'service="tvix.castore.v1.BlobService",method="Stat"'
    const lines = text.split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        `tvix_store_grpc_calls_total{${put},status="OK"} 2`,
        `tvix_store_grpc_calls_total{${statted},status="NOT_FOUND"} 1`,
        `tvix_store_grpc_calls_total{${statted},status="INVALID_ARGUMENT"} 1`,
        `tvix_store_grpc_call_seconds_count{${put}} 2`,
        `tvix_store_grpc_received_bytes_total{${put}} 6`,
        `tvix_store_grpc_sent_bytes_total{${put}} 68`,
        'tvix_store_grpc_open_calls 0',
      ]),
    )
  })

  test('nothing else is served there', async () => {
    const metrics = await startMetricsServer('127.0.0.1:0', [])
    const ask = (path: string, method = 'GET') => fetch(`http://${metrics.address}${path}`, { method })
    expect((await ask('/')).status).toBe(404)
    expect((await ask('/metrics', 'POST')).status).toBe(405)
    expect((await ask('/metrics')).headers.get('content-type')).toBe('text/plain; version=0.0.4')
    metrics.close()
  })
})
