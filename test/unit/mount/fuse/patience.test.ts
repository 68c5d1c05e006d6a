import { expect, test } from 'vitest'
import { Patience } from '../../../../src/mount/fuse/patience.ts'
import {
  FUSE_PATIENCE_US,
  FUSE_QUICK_MS,
  FUSE_WALK_PATIENCE_US,
  FUSE_WALK_QUICK_MS,
} from '../../../../src/support/limits.ts'

function patienceAt() {
  const clock = { now: 1000 }
  return { clock, patience: new Patience(() => clock.now) }
}

test('who is asked now and then does not look for more', () => {
  const { clock, patience } = patienceAt()
  for (let i = 0; i < 5; i++) {
    patience.gaveUp()
    clock.now += 10 * FUSE_QUICK_MS
    patience.received()
    expect(patience.microseconds(false)).toBe(0)
  }
})

test('whoever came back at once is waited for, as long as that is not in vain', () => {
  const { clock, patience } = patienceAt()
  patience.gaveUp()
  clock.now += FUSE_QUICK_MS / 2
  patience.received()
  for (let i = 0; i < 3; i++) {
    expect(patience.microseconds(false)).toBe(FUSE_PATIENCE_US)
    patience.received()
  }
  patience.gaveUp()
  expect(patience.microseconds(false)).toBe(0)
  clock.now += 10 * FUSE_QUICK_MS
  patience.received()
  expect(patience.microseconds(false)).toBe(0)
})

test('several requests at once are no reason to wait for more', () => {
  const { clock, patience } = patienceAt()
  patience.gaveUp()
  clock.now += 10 * FUSE_QUICK_MS
  for (let i = 0; i < 4; i++) patience.received()
  expect(patience.microseconds(false)).toBe(0)
})

test('a walk that asks again while a listing is worked on is waited for that long, as long as it is not in vain', () => {
  const { clock, patience } = patienceAt()
  const sleepFor = (ms: number) => {
    patience.gaveUp()
    clock.now += ms
    patience.received()
  }
  sleepFor((FUSE_QUICK_MS + FUSE_WALK_QUICK_MS) / 2)
  expect([patience.microseconds(true), patience.microseconds(false)]).toEqual([FUSE_WALK_PATIENCE_US, 0])
  sleepFor(2 * FUSE_WALK_QUICK_MS)
  expect([patience.microseconds(true), patience.microseconds(false)]).toEqual([0, 0])
})
