import { describe, expect, test, vi } from 'vitest'
import { Circuit } from '../../../src/services/grpc-circuit.ts'
import { StoreError } from '../../../src/support/errors.ts'

const FAILURE = new StoreError('unavailable', 'nobody answers (ECONNREFUSED)')
/** A read promises to wait for 1 s: half of its pauses. */
const POLICY = { circuitFailures: 5, circuitMs: 3_000, retryMs: [1_000, 1_000], returnMs: 15_000 }

function makeCircuit() {
  const world = { now: 0, connected: false }
  const circuit = new Circuit(
    POLICY,
    () => world.connected,
    () => world.now,
  )
  return { circuit, world }
}

/** One whose peer has been dead for two seconds. */
function makeOpen() {
  const made = makeCircuit()
  for (let i = 0; i < 5; i++) {
    made.circuit.unanswered(FAILURE)
    made.world.now += 400
  }
  return made
}

describe('opening', () => {
  test('after five failures in a row', () => {
    const { circuit, world } = makeCircuit()
    for (let i = 0; i < 4; i++) circuit.unanswered(FAILURE)
    world.now = 1_000
    expect(circuit.isOpen).toBe(false)
    circuit.unanswered(FAILURE)
    expect(circuit.isOpen).toBe(true)
  })

  test('not after failures with an answer between them', () => {
    const { circuit, world } = makeCircuit()
    for (let i = 0; i < 100; i++) {
      world.now += 1_000
      circuit.unanswered(FAILURE)
      if (i % 4 === 3) circuit.answered()
    }
    expect(circuit.isOpen).toBe(false)
  })

  test('not while a peer under load restarts: a hundred failures at once are one', () => {
    const { circuit, world } = makeCircuit()
    for (let i = 0; i < 100; i++) circuit.unanswered(FAILURE)
    world.now = 999
    circuit.unanswered(FAILURE)
    expect(circuit.isOpen).toBe(false)
    world.now = 1_000
    circuit.unanswered(FAILURE)
    expect(circuit.isOpen).toBe(true)
  })
})

describe('a peer that was there', () => {
  test('is missed, and held for dead when it has been away for longer than it takes to stop and start', () => {
    const { circuit, world } = makeCircuit()
    circuit.answered()
    expect(circuit.isMissed).toBe(false)
    for (world.now = 0; world.now < 15_000; world.now += 1_000) {
      circuit.unanswered(FAILURE)
      expect(circuit).toMatchObject({ isMissed: true, isOpen: false })
    }
    circuit.unanswered(FAILURE)
    expect(circuit).toMatchObject({ isMissed: false, isOpen: true })
    circuit.answered()
    expect(circuit).toMatchObject({ isMissed: false, isOpen: false })
  })

  test('is missed no more when it has answered, and never if it was not there', () => {
    const { circuit } = makeCircuit()
    circuit.unanswered(FAILURE)
    expect(circuit.isMissed).toBe(false)
    circuit.answered()
    circuit.unanswered(FAILURE)
    expect(circuit.isMissed).toBe(true)
    circuit.answered()
    expect(circuit.isMissed).toBe(false)
  })
})

describe('an open circuit', () => {
  test('refuses calls and says why', () => {
    const { circuit } = makeOpen()
    const refused = vi.fn(() => circuit.admit('the daemon: Stat'))
    expect(refused).toThrow(/^the daemon: Stat: not tried.*ECONNREFUSED/)
    expect(refused.mock.results[0]!.value).toMatchObject({ code: 'unavailable' })
  })

  test('lets one call pass every three seconds', () => {
    const { circuit, world } = makeOpen()
    for (let round = 0; round < 3; round++) {
      world.now += 3_000
      circuit.admit('a')
      circuit.unanswered(FAILURE)
      expect(() => circuit.admit('b')).toThrow()
    }
  })

  test('lets one call pass when the connection is there again', () => {
    const { circuit, world } = makeOpen()
    expect(() => circuit.admit('a')).toThrow()
    world.connected = true
    circuit.admit('b')
    expect(() => circuit.admit('c')).toThrow()
  })

  test('is not fooled by a connection that was there all the time', () => {
    const { circuit, world } = makeCircuit()
    world.connected = true
    for (let i = 0; i < 5; i++) {
      circuit.unanswered(FAILURE)
      world.now += 400
    }
    expect(() => circuit.admit('a')).toThrow()
  })

  test('closes with the first answer', () => {
    const { circuit } = makeOpen()
    circuit.answered()
    expect(circuit.isOpen).toBe(false)
    circuit.admit('a')
    circuit.unanswered(FAILURE)
    expect(circuit.isOpen).toBe(false)
  })
})
