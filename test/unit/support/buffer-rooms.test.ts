import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { BufferRooms, GradedRooms } from '../../../src/support/buffer-rooms.ts'
import { ROOMS_IDLE_MS } from '../../../src/support/limits.ts'

const ROOM_BYTES = 100_000
const FREE_MAX = 2
const LIMITS = { bytes: ROOM_BYTES, busyMax: FREE_MAX, idleMax: 0 }
const LARGE = ROOM_BYTES / 2

/** What memory was used before tells a byte in it. */
function mark(room: Buffer, byte: number): Buffer {
  return room.fill(byte)
}

test('what is given back is used again, and none by two', () => {
  const rooms = new BufferRooms(LIMITS)
  const first = mark(rooms.take(LARGE), 1)
  const second = mark(rooms.take(ROOM_BYTES), 2)
  expect(first[0]).toBe(1)
  rooms.giveBack(first.subarray(0, 7))
  rooms.giveBack(first)
  const third = rooms.take(LARGE)
  expect(third[LARGE]).toBe(1)
  mark(third, 3)
  expect(mark(rooms.take(LARGE), 4).buffer).not.toBe(third.buffer)
  expect([second[0], third[0]]).toEqual([2, 3])
})

test('who keeps a part of what he gave back has nothing, and can neither read nor give back what is of another now', () => {
  const rooms = new BufferRooms(LIMITS)
  const first = rooms.take(LARGE)
  const kept = first.subarray(10, 20)
  rooms.giveBack(first)
  const second = mark(rooms.take(LARGE), 2)
  expect(first).toHaveLength(0)
  expect(kept).toHaveLength(0)
  rooms.giveBack(kept)
  expect(mark(rooms.take(LARGE), 3)[0]).toBe(3)
  expect(second[0]).toBe(2)
})

describe('when nobody wants them', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('they are kept for a moment, as more may be to come', () => {
    const rooms = new BufferRooms(LIMITS)
    rooms.giveBack(mark(rooms.take(LARGE), 1))
    vi.advanceTimersByTime(ROOMS_IDLE_MS - 1)
    const again = rooms.take(LARGE)
    expect(again[0]).toBe(1)
    vi.advanceTimersByTime(1)
    rooms.giveBack(again)
    expect(rooms.take(LARGE)[0]).toBe(1)
  })

  test('and no longer, unless so it was agreed, even if some are never given back', () => {
    for (const idleMax of [0, 1]) {
      const rooms = new BufferRooms({ ...LIMITS, idleMax })
      const taken = [1, 2, 3].map(() => mark(rooms.take(LARGE), 7))
      for (const room of taken.slice(1)) rooms.giveBack(room)
      vi.advanceTimersByTime(2 * ROOMS_IDLE_MS)
      expect(rooms.free).toBe(idleMax)
    }
  })

  test('those that were wanted meanwhile stay', () => {
    const rooms = new BufferRooms(LIMITS)
    for (const room of [1, 2].map(() => rooms.take(LARGE))) rooms.giveBack(room)
    rooms.giveBack(mark(rooms.take(LARGE), 5))
    vi.advanceTimersByTime(ROOMS_IDLE_MS)
    expect(rooms.free).toBe(1)
    expect(rooms.take(LARGE)[0]).toBe(5)
  })
})

test('small and huge ones are never kept, nor what came from elsewhere', () => {
  const rooms = new BufferRooms(LIMITS)
  rooms.take(LARGE)
  for (const room of [rooms.take(100), rooms.take(ROOM_BYTES + 1), Buffer.allocUnsafeSlow(ROOM_BYTES)]) {
    rooms.giveBack(room)
    expect(rooms.free).toBe(0)
    expect(room.length).toBeGreaterThan(0)
  }
})

test('no more are kept than agreed', () => {
  const rooms = new BufferRooms(LIMITS)
  const taken = [1, 2, 3, 4].map(() => rooms.take(LARGE))
  for (const room of taken.slice(1)) rooms.giveBack(room)
  expect(rooms.free).toBe(FREE_MAX)
})

describe('rooms of several sizes', () => {
  const SIZES = [1000, 2000, 8000]
  const graded = () => new GradedRooms(SIZES, { busyMax: FREE_MAX, idleMax: 0 })

  test.each([
    [1000, 1000],
    [1001, 2000],
    [2001, 8000],
    [8001, 8001],
    [10, 10],
  ])('%i bytes get one of %i', (wanted, got) => {
    expect(graded().take(wanted)).toHaveLength(got)
  })

  test('each goes back to its own, and one a size larger is taken before a new one is made', () => {
    const rooms = graded()
    rooms.giveBack(mark(rooms.take(1500), 9))
    const larger = rooms.take(900)
    expect(larger).toHaveLength(2000)
    expect(larger[0]).toBe(9)
    expect(rooms.take(900)).toHaveLength(1000)
    rooms.giveBack(larger)
    expect(rooms.take(1500)[0]).toBe(9)
  })

  test('but none that is far too large', () => {
    const rooms = graded()
    rooms.giveBack(rooms.take(8000))
    expect(rooms.take(1900)).toHaveLength(2000)
  })
})
