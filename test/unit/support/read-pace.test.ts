import { describe, expect, it } from 'vitest'
import { READ_ON_SPOT_REST_MAX } from '../../../src/support/limits.ts'
import { ReadPace, readPaceOf } from '../../../src/support/read-pace.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** A pace on a clock that moves only when told, and a read that takes `ms` of it. */
function clocked(isLocal = true) {
  let now = 0
  const pace = new ReadPace(isLocal, () => now, { isLong: false })
  const pass = (ms: number) => {
    now += ms
  }
  return { pace, pass, read: (ms: number) => pace.run(() => pass(ms)) }
}

describe('files are read', () => {
  it('on the spot while that is quick', () => {
    const { pace, read } = clocked()
    for (let i = 0; i < 100; i++) read(0.02)
    expect(pace.isOnSpot).toBe(true)
  })

  it('in the pool after a read that had to wait, for ten times as long', () => {
    const { pace, pass, read } = clocked()
    read(5)
    expect(pace.isOnSpot).toBe(false)
    pass(49)
    expect(pace.isOnSpot).toBe(false)
    pass(2)
    expect(pace.isOnSpot).toBe(true)
  })

  it('in the pool after a failure that took long', () => {
    const { pace, pass } = clocked()
    const failing = () => {
      pass(5)
      throw new Error('no such file')
    }
    expect(() => pace.run(failing)).toThrow('no such file')
    expect(pace.isOnSpot).toBe(false)
  })

  it('on the spot ever more seldom from a slow disk, so that little time is lost to it', () => {
    const { pace, pass, read } = clocked()
    let lost = 0
    let total = 0
    for (; total < 60_000; total++) {
      if (pace.isOnSpot) {
        read(8)
        lost += 8
      }
      pass(1)
    }
    expect(lost / total).toBeLessThan(0.005)
    expect(lost / 8).toBeGreaterThan(60_000 / (8 * READ_ON_SPOT_REST_MAX)) // it is tried again all the same
  })

  it('as before once the slow reads are over', () => {
    const { pace, pass, read } = clocked()
    for (let i = 0; i < 10; i++) {
      read(1)
      pass(READ_ON_SPOT_REST_MAX)
    }
    read(0.01)
    read(1)
    pass(11)
    expect(pace.isOnSpot).toBe(true)
  })

  it('never on the spot from a file server', () => {
    expect(clocked(false).pace.isOnSpot).toBe(false)
  })
})

it('tells local file systems from others', async () => {
  await using dir = await tempDir()
  expect((await readPaceOf(dir.path)).isOnSpot).toBe(true)
  expect((await readPaceOf('/proc')).isOnSpot).toBe(false)
})
