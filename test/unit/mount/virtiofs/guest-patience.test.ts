/** Whether a guest's queues are looked into before the thread sleeps. */
import { availableParallelism } from 'node:os'
import { expect, test } from 'vitest'
import { GuestCompany, GuestPatience } from '../../../../src/mount/virtiofs/guest-patience.ts'
import {
  FUSE_PATIENCE_US,
  GUEST_COMPANY_MS,
  GUEST_WALK_PATIENCE_US,
  GUEST_WALK_QUICK_MS,
} from '../../../../src/support/limits.ts'

/** A processor is the guest's own. */
const lone = availableParallelism() < 2

function guestsAt(count: number) {
  const clock = { now: 1000 }
  const company = new GuestCompany(() => clock.now)
  const guests = Array.from({ length: count }, () => new GuestPatience(company, () => clock.now))
  const asks = (guest: GuestPatience, afterMs: number) => {
    guest.gaveUp()
    clock.now += afterMs
    guest.received()
  }
  return { clock, guests: guests as [GuestPatience, GuestPatience], asks }
}

test.skipIf(lone)(
  'a guest that walks is looked for once it came back soon, and not after it was in vain',
  () => {
    const { clock, guests, asks } = guestsAt(1)
    const [guest] = guests
    asks(guest, 0)
    clock.now += 2 * GUEST_COMPANY_MS
    asks(guest, GUEST_WALK_QUICK_MS / 2)
    expect([guest.microseconds(true), guest.microseconds(false)]).toEqual([GUEST_WALK_PATIENCE_US, 0])
    asks(guest, 2 * GUEST_WALK_QUICK_MS)
    expect(guest.microseconds(true)).toBe(0)
    asks(guest, 0.01)
    expect(guest.microseconds(false)).toBe(FUSE_PATIENCE_US)
    guest.gaveUp()
    expect(guest.microseconds(true)).toBe(0)
  },
)

test.skipIf(lone)('of guests that ask at the same time none is looked for, until one is alone again', () => {
  const { clock, guests, asks } = guestsAt(2)
  const [one, other] = guests
  asks(one, 0)
  clock.now += 2 * GUEST_COMPANY_MS
  asks(one, 0.1)
  expect(one.microseconds(true)).toBeGreaterThan(0)
  asks(other, 0.1)
  expect([one.microseconds(true), other.microseconds(true)]).toEqual([0, 0])
  asks(one, 0.1)
  expect([one.microseconds(true), other.microseconds(true)]).toEqual([0, 0])
  clock.now += 2 * GUEST_COMPANY_MS
  expect(one.microseconds(true)).toBeGreaterThan(0)
})
