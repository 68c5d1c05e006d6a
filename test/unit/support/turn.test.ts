import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { Turn } from '../../../src/support/turn.ts'

it('a turn is long once its time is over, whatever promises resolved, and the next one begins anew', async () => {
  const turn = new Turn(2)
  expect(turn.isLong).toBe(false)
  while (!turn.isLong) await undefined
  await undefined
  expect(turn.isLong).toBe(true)
  await nextTurn()
  expect(turn.isLong).toBe(false)
})
