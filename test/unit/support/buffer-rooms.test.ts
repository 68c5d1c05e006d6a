import { expect, test } from 'vitest'
import { BufferRooms } from '../../../src/support/buffer-rooms.ts'

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

test('nothing is kept when none is in use, unless so it was agreed', () => {
  const rooms = new BufferRooms(LIMITS)
  const first = rooms.take(LARGE)
  rooms.giveBack(first)
  expect(rooms.take(LARGE).buffer).not.toBe(first.buffer)
  const keeping = new BufferRooms({ ...LIMITS, idleMax: 1 })
  const second = keeping.take(LARGE)
  keeping.giveBack(second)
  expect(keeping.take(LARGE).buffer).toBe(second.buffer)
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
