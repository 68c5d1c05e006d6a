/** What our clients make of bad lines: bytes that are lost, late, changed, repeated or never come. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ErrorCode } from '../../src/support/errors.ts'
import type { TestServer } from '../support/grpc-server.ts'
import {
  type ConnectionPlan,
  type Direction,
  type Fault,
  startTcpFaultProxy,
} from '../support/tcp-fault-proxy.ts'
import { openClient, outcome, RESUMPTIONS, SHORT_PATIENCE_MS } from './grpc-client.ts'
import {
  LARGE,
  type Operation,
  READ_LARGE,
  READ_SMALL,
  READS,
  startSampleServer,
  WRITES,
} from './sample-store.ts'

let server: TestServer
beforeAll(async () => {
  server = await startSampleServer()
})
afterAll(() => server[Symbol.asyncDispose]())

/** The settings frame of a server: what an HTTP/2 connection begins with. */
const FIRST_FRAME = 9
/** Behind the settings, among the frames of the first answers. */
const ANSWERS = 150
const MIDDLE = LARGE.length / 2
const ALMOST_ALL = LARGE.length - 1

/** A connection that was refused is made again after 100 ms at the earliest. */
const RETRY_MS = [150, 200, 300]

interface Result {
  readonly found: unknown
  readonly bytesDown: number
}

async function run(
  operation: Operation,
  plans: readonly ConnectionPlan[],
  patienceMs = 5_000,
): Promise<Result> {
  await using proxy = await startTcpFaultProxy(server.bound, plans)
  using client = await openClient(proxy.address, { patienceMs, retryMs: RETRY_MS })
  const found = await outcome(operation.run(client))
  return { found, bytesDown: proxy.bytesDown }
}

const show = (fault: Fault) =>
  Object.entries(fault)
    .map(([key, value]) => (key === 'kind' ? value : `${key} ${value}`))
    .join(' ')

/** On the first connection only, which is what a line does that fails once. */
const once = (fault: Fault, direction: Direction = 'down'): ConnectionPlan[] => [{ direction, fault }]

describe('a connection that is lost once costs no read its answer', () => {
  const offsets = [0, 1, FIRST_FRAME, ANSWERS, MIDDLE, ALMOST_ALL]
  const faults = offsets.flatMap((at) => (['reset', 'close'] as const).map((kind): Fault => ({ kind, at })))
  test.concurrent.each(faults.map((fault) => [show(fault), fault] as const))('%s', async (_, fault) => {
    const { found, bytesDown } = await run(READ_LARGE, once(fault))
    expect(found).toEqual({ value: READ_LARGE.truth })
    // By chunks: no more than the one it broke in comes twice, besides what was in flight.
    expect(bytesDown).toBeLessThan(LARGE.length * 1.6)
  })

  test.concurrent.each(READS.map((operation) => [operation.title, operation] as const))(
    '%s',
    async (_, operation) => {
      for (const at of [0, FIRST_FRAME, 40])
        expect((await run(operation, once({ kind: 'reset', at }))).found).toEqual({ value: operation.truth })
    },
  )

  test('lost again and again, a little later each time', async () => {
    const plans = Array.from(
      { length: RESUMPTIONS },
      (_, i): ConnectionPlan => ({ direction: 'down', fault: { kind: 'close', at: 700_000 + i } }),
    )
    expect((await run(READ_LARGE, plans)).found).toEqual({ value: READ_LARGE.truth })
  })

  test('lost every time is an error', async () => {
    const plans = Array.from(
      { length: 100 },
      (): ConnectionPlan => ({ direction: 'down', fault: { kind: 'reset', at: 5_000 } }),
    )
    expect((await run(READ_LARGE, plans)).found).toMatchObject({ code: 'unavailable' })
  })
})

describe('silence ends with a deadline', () => {
  const faults: readonly Fault[] = [
    ...[0, FIRST_FRAME, ANSWERS, MIDDLE].map((at): Fault => ({ kind: 'black-hole', at })),
    ...[0, FIRST_FRAME, 60].map((at): Fault => ({ kind: 'trickle', at, bytes: 1, ms: 50 })),
    { kind: 'delay', at: ANSWERS, ms: 60_000 },
  ]
  test.concurrent.each(faults.map((fault) => [show(fault), fault] as const))('%s', async (_, fault) => {
    const started = performance.now()
    const { found } = await run(READ_LARGE, once(fault), SHORT_PATIENCE_MS)
    expect(found).toMatchObject({ code: 'deadline' })
    // At most the family, the request and the answer have to be waited for.
    expect(performance.now() - started).toBeLessThan(3 * SHORT_PATIENCE_MS + 2_000)
  })

  test.concurrent.each(WRITES.map((operation) => [operation.title, operation] as const))(
    '%s',
    async (_, operation) => {
      // The first connection finds out the family, the second one carries uploads.
      const plan: ConnectionPlan = { direction: 'down', fault: { kind: 'black-hole', at: 0 } }
      const { found } = await run(operation, [plan, plan], SHORT_PATIENCE_MS)
      expect(found).toMatchObject({ code: 'deadline' })
    },
  )
})

describe('a slow line is no fault', () => {
  test.concurrent.each<[string, Fault, Operation]>([
    ['50 ms before the first byte', { kind: 'delay', at: 0, ms: 50 }, READ_LARGE],
    ['50 ms in the middle', { kind: 'delay', at: MIDDLE, ms: 50 }, READ_LARGE],
    ['64 KiB in 5 ms', { kind: 'trickle', at: 0, bytes: 64 * 1024, ms: 5 }, READ_LARGE],
    ['100 bytes in 1 ms', { kind: 'trickle', at: 0, bytes: 100, ms: 1 }, READ_SMALL],
    ['a byte at a time', { kind: 'trickle', at: 2_000, bytes: 1, ms: 0 }, READ_SMALL],
  ])('%s', async (_, fault, operation) => {
    expect((await run(operation, once(fault))).found).toEqual({ value: operation.truth })
  })
})

/** Where the line lies, an error is as good as the truth; anything else is not. */
async function expectTruthOrError(operation: Operation, plans: readonly ConnectionPlan[]): Promise<void> {
  const { found } = await run(operation, plans, SHORT_PATIENCE_MS * 3)
  if ('value' in (found as object)) expect(found).toEqual({ value: operation.truth })
  else expect((found as { code: ErrorCode }).code).not.toBe('not-found')
}

describe('bytes that are changed, lost, repeated or invented are noticed', () => {
  const places = [0, 3, FIRST_FRAME, ANSWERS, 5_000, MIDDLE, ALMOST_ALL]
  const faults = places.flatMap((at): Fault[] => [
    { kind: 'flip', at, bit: 0 },
    { kind: 'flip', at, bit: 6 },
    { kind: 'omit', at, length: 1 },
    { kind: 'repeat', at, length: 100 },
    { kind: 'insert', at, bytes: Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n') },
    { kind: 'half-close', at },
  ])
  test.concurrent.each(faults.map((fault) => [show(fault), fault] as const))('%s', async (_, fault) => {
    await expectTruthOrError(READ_LARGE, once(fault))
  })

  test('a bit of a blob itself is corrupt', async () => {
    const { found } = await run(READ_LARGE, once({ kind: 'flip', at: MIDDLE, bit: 3 }))
    expect(found).toMatchObject({ code: 'corrupt' })
  })
})

describe('on the way up', () => {
  const faults: readonly Fault[] = [
    { kind: 'reset', at: 1_000_000 },
    { kind: 'close', at: 1_000_000 },
    { kind: 'half-close', at: 1_000_000 },
    { kind: 'black-hole', at: 1_000_000 },
    { kind: 'flip', at: 1_000_000, bit: 5 },
    { kind: 'flip', at: 200, bit: 1 },
    { kind: 'omit', at: 1_000_000, length: 10 },
    { kind: 'repeat', at: 1_000_000, length: 10 },
    { kind: 'insert', at: 0, bytes: Buffer.from('GET / HTTP/1.1\r\n\r\n') },
  ]
  const rows = faults.flatMap((fault) =>
    WRITES.map((operation) => [`${operation.title}: ${show(fault)}`, operation, fault] as const),
  )
  test.concurrent.each(rows)('%s', async (_, operation, fault) => {
    // Whichever of the two connections it is that carries the upload.
    await expectTruthOrError(operation, [...once(fault, 'up'), ...once(fault, 'up')])
  })

  test('a bit of a blob that is uploaded is corrupt', async () => {
    const plans = [...once({ kind: 'none' }), ...once({ kind: 'flip', at: 1_000_000, bit: 5 }, 'up')]
    expect((await run(WRITES[0]!, plans)).found).toMatchObject({ code: 'corrupt' })
  })
})

test('what is no gRPC server at all is unavailable', async () => {
  const { createServer } = await import('node:net')
  const web = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  const { port } = web.address() as { port: number }
  using client = await openClient(`grpc+http://127.0.0.1:${port}`)
  expect(await outcome(READ_SMALL.run(client))).toMatchObject({ code: 'unavailable' })
  web.close()
})
