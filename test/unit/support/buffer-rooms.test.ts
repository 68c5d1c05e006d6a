import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { BufferRooms } from '../../../src/support/buffer-rooms.ts'
import { ROOMS_IDLE_MS } from '../../../src/support/limits.ts'

const ROOM_BYTES = 100_000
const FREE_MAX = 2
const LIMITS = { bytes: ROOM_BYTES, busyMax: FREE_MAX, idleMax: 0 }
const LARGE = ROOM_BYTES / 2

test('what is given back while others are in use is used again, and none by two', () => {
  const rooms = new BufferRooms(LIMITS)
  const [first, second] = [rooms.take(LARGE), rooms.take(ROOM_BYTES)]
  expect(second.buffer).not.toBe(first.buffer)
  rooms.giveBack(first.subarray(0, 7))
  rooms.giveBack(first)
  expect(rooms.take(LARGE).buffer).toBe(first.buffer)
  expect(rooms.take(LARGE).buffer).not.toBe(first.buffer)
})

describe('when none is in use', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('they are kept for a moment, as more may be to come', () => {
    const rooms = new BufferRooms(LIMITS)
    const first = rooms.take(LARGE)
    rooms.giveBack(first)
    vi.advanceTimersByTime(ROOMS_IDLE_MS - 1)
    expect(rooms.take(LARGE).buffer).toBe(first.buffer)
    vi.advanceTimersByTime(1)
    rooms.giveBack(first)
    expect(rooms.take(LARGE).buffer).toBe(first.buffer)
  })

  test('and no longer, unless so it was agreed', () => {
    for (const idleMax of [0, 1]) {
      const rooms = new BufferRooms({ ...LIMITS, idleMax })
      const taken = [rooms.take(LARGE), rooms.take(LARGE)]
      for (const room of taken) rooms.giveBack(room)
      vi.advanceTimersByTime(ROOMS_IDLE_MS)
      const known = new Set(taken.map(({ buffer }) => buffer))
      const again = [rooms.take(LARGE), rooms.take(LARGE)]
      expect(again.filter(({ buffer }) => known.has(buffer)).length).toBe(idleMax)
    }
  })
})

test('small and huge ones are never kept, nor what came from elsewhere', () => {
  const rooms = new BufferRooms(LIMITS)
  rooms.take(LARGE)
  for (const room of [rooms.take(100), rooms.take(ROOM_BYTES + 1), Buffer.allocUnsafeSlow(ROOM_BYTES)]) {
    rooms.giveBack(room)
    expect(rooms.take(LARGE).buffer).not.toBe(room.buffer)
  }
})

test('no more are kept than agreed', () => {
  const rooms = new BufferRooms(LIMITS)
  const taken = [1, 2, 3, 4].map(() => rooms.take(LARGE))
  for (const room of taken.slice(1)) rooms.giveBack(room)
  const known = new Set(taken.map(({ buffer }) => buffer))
  const again = [1, 2, 3].map(() => rooms.take(LARGE))
  expect(again.filter(({ buffer }) => known.has(buffer)).length).toBe(FREE_MAX)
})
