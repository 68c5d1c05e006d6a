import { expect, test } from 'vitest'
import { RunRooms } from '../../../../src/services/objects/packs-rooms.ts'
import { PACK_ROOM_BYTES } from '../../../../src/support/limits.ts'

const LARGE = PACK_ROOM_BYTES / 2

test('what is given back while others are in use is used again, and none by two', () => {
  const rooms = new RunRooms()
  const [first, second] = [rooms.take(LARGE), rooms.take(PACK_ROOM_BYTES)]
  expect(second.buffer).not.toBe(first.buffer)
  rooms.giveBack(first.subarray(0, 7))
  rooms.giveBack(first)
  expect(rooms.take(LARGE).buffer).toBe(first.buffer)
  expect(rooms.take(LARGE).buffer).not.toBe(first.buffer)
})

test('nothing is kept when none is in use', () => {
  const rooms = new RunRooms()
  const first = rooms.take(LARGE)
  rooms.giveBack(first)
  expect(rooms.take(LARGE).buffer).not.toBe(first.buffer)
})

test('small and huge ones are never kept, nor what came from elsewhere', () => {
  const rooms = new RunRooms()
  rooms.take(LARGE)
  for (const room of [
    rooms.take(100),
    rooms.take(PACK_ROOM_BYTES + 1),
    Buffer.allocUnsafeSlow(PACK_ROOM_BYTES),
  ]) {
    rooms.giveBack(room)
    expect(rooms.take(LARGE).buffer).not.toBe(room.buffer)
  }
})
