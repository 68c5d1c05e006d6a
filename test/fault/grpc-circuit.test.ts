/** Peers that die and come back. */
import { expect, test, vi } from 'vitest'
import { EMPTY_DIGEST } from '../../src/model/castore/digest.ts'
import { startTestServer } from '../support/grpc-server.ts'
import { startHostileServer } from '../support/hostile-grpc.ts'
import { startTcpFaultProxy } from '../support/tcp-fault-proxy.ts'
import { openClient, outcome } from './grpc-client.ts'

/** What a caller may lose to a peer that is known to be dead. */
const AT_ONCE_MS = 50

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const started = performance.now()
  const result = await work()
  return { result, ms: performance.now() - started }
}

test('a dead peer costs the first caller its retries and the others nothing, and is back with its connection', async () => {
  await using server = await startTestServer()
  await using proxy = await startTcpFaultProxy(server.bound)
  // A minute: it is the connection that tells that the peer is back, not the clock.
  using client = await openClient(proxy.address, { retryMs: [50, 100, 200, 400], circuitMs: 60_000 })
  const has = () => outcome(client.blobs.has(EMPTY_DIGEST))
  expect(await has()).toEqual({ value: false })

  await proxy.down()
  const first = await timed(has)
  expect(first.result).toMatchObject({ code: 'unavailable' })
  expect(first.ms).toBeGreaterThan(300)
  for (let i = 0; i < 3 && !client.channel.isDown; i++) await has()
  expect(client.channel.isDown).toBe(true)
  const times = await Promise.all(Array.from({ length: 50 }, () => timed(has)))
  for (const { result, ms } of times) {
    expect(result).toMatchObject({ code: 'unavailable', message: expect.stringContaining('not tried') })
    expect(ms).toBeLessThan(AT_ONCE_MS)
  }

  await proxy.up()
  const back = await timed(() =>
    vi.waitFor(async () => expect(await has()).toEqual({ value: false }), { timeout: 5_000, interval: 10 }),
  )
  expect(back.ms).toBeLessThan(2_000)
  expect(client.channel.isDown).toBe(false)
})

test('a peer that is connected and mute is asked now and then', async () => {
  let mute = true
  await using peer = await startHostileServer({
    'BlobService/Stat': (call) => (mute ? undefined : call.trailersOnly(5, 'absent')),
  })
  using client = await openClient(peer.address, {
    patienceMs: 100,
    circuitFailures: 2,
    retryMs: [20],
    circuitMs: 200,
  })
  const has = () => outcome(client.blobs.has(EMPTY_DIGEST))
  for (let i = 0; i < 2; i++) expect(await has()).toMatchObject({ code: 'deadline' })
  expect(client.channel.isDown).toBe(true)
  const refused = await timed(has)
  expect(refused.result).toMatchObject({ code: 'unavailable' })
  expect(refused.ms).toBeLessThan(AT_ONCE_MS)
  mute = false
  await vi.waitFor(async () => expect(await has()).toEqual({ value: false }), {
    timeout: 5_000,
    interval: 20,
  })
  expect(client.channel.isDown).toBe(false)
})

test('a peer that answers UNAVAILABLE is not dead', async () => {
  await using peer = await startHostileServer({
    'BlobService/Stat': (call) => call.trailersOnly(14, 'my disk is away'),
  })
  using client = await openClient(peer.address)
  for (let i = 0; i < 10; i++) await outcome(client.blobs.has(EMPTY_DIGEST))
  expect(client.channel.isDown).toBe(false)
})

test('reads that wait for a peer under load are not cut short by each other', async () => {
  await using server = await startTestServer()
  await using proxy = await startTcpFaultProxy(server.bound)
  using client = await openClient(proxy.address, { retryMs: [100, 300, 600, 1_000] })
  await client.blobs.has(EMPTY_DIGEST)
  await proxy.down()
  const waiting = Array.from({ length: 64 }, () => outcome(client.blobs.has(EMPTY_DIGEST)))
  using hasty = await openClient(proxy.address, { retryMs: [] })
  expect(await outcome(hasty.blobs.has(EMPTY_DIGEST))).toMatchObject({ code: 'unavailable' })
  await proxy.up()
  for (const result of await Promise.all(waiting)) expect(result).toEqual({ value: false })
})

test('a peer that was there is waited for, for longer than one that never was', async () => {
  await using server = await startTestServer()
  await using proxy = await startTcpFaultProxy(server.bound)
  using client = await openClient(proxy.address, { returnMs: 60_000 })
  const has = () => outcome(client.blobs.has(EMPTY_DIGEST))
  await proxy.down()
  expect(await has()).toMatchObject({ code: 'unavailable' }) // its three retries are over
  await proxy.up()
  await vi.waitFor(async () => expect(await has()).toEqual({ value: false }), {
    timeout: 5_000,
    interval: 10,
  })

  await proxy.down()
  const waiting = Array.from({ length: 20 }, has)
  using unknown = await openClient(proxy.address, { retryMs: [300, 300, 300], returnMs: 60_000 })
  expect(await outcome(unknown.blobs.has(EMPTY_DIGEST))).toMatchObject({ code: 'unavailable' })
  await proxy.up()
  for (const result of await Promise.all(waiting)) expect(result).toEqual({ value: false })
})

test('a peer that stays away costs one wait', async () => {
  await using server = await startTestServer()
  await using proxy = await startTcpFaultProxy(server.bound)
  using client = await openClient(proxy.address, { returnMs: 700, circuitMs: 60_000 })
  const has = () => outcome(client.blobs.has(EMPTY_DIGEST))
  await has()
  await proxy.down()
  const first = await timed(() => Promise.all(Array.from({ length: 20 }, has)))
  for (const result of first.result) expect(result).toMatchObject({ code: 'unavailable' })
  expect(first.ms).toBeGreaterThan(600)
  expect((await timed(has)).ms).toBeLessThan(AT_ONCE_MS)
})
