/** What a mount tells of its use: the same for the same, something new for what has code of its own. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { expect, test } from 'vitest'
import { USES_CHANNEL } from '../../../src/cli/compiled-code.ts'
import { tellUses } from '../../../src/cli/mount-uses.ts'
import { SessionStats } from '../../../src/mount/fuse/stats.ts'

function told(requests: Readonly<Record<string, number>>, bytesRead = 0): number {
  const heard: unknown[] = []
  const listen = (uses: unknown) => void heard.push(uses)
  subscribe(USES_CHANNEL, listen)
  tellUses({ ...new SessionStats().snapshot(), requests, bytesRead })
  unsubscribe(USES_CHANNEL, listen)
  expect(heard).toHaveLength(1)
  return heard[0] as number
}

test('a mount tells what it was asked, and not how often', () => {
  const listed = told({ INIT: 1, LOOKUP: 1, READDIRPLUS: 70 })
  expect(told({ INIT: 1, LOOKUP: 9, READDIRPLUS: 2 })).toBe(listed)
  const read = told({ LOOKUP: 1, READDIRPLUS: 70, READ: 2 }, 4000)
  expect(read & listed).toBe(listed)
  expect(read).not.toBe(listed)
})

test('large files are another use than small ones', () => {
  const small = told({ LOOKUP: 4, READ: 2 }, 100_000)
  const large = told({ LOOKUP: 4, READ: 2 }, 240_000)
  expect(large & small).toBe(small)
  expect(large).not.toBe(small)
  expect(told({ INIT: 1 })).toBe(0)
})
