import { expect, test } from 'vitest'
import { FaultLog } from '../../../src/support/fault-log.ts'
import { FAULT_LOG_KINDS_MAX, FAULT_LOG_MS } from '../../../src/support/limits.ts'
import { recordingLogger } from '../../support/recording-logger.ts'

test('the same thing is said once, and again after a while', () => {
  const { logger, lines } = recordingLogger()
  let now = 1000
  const faults = new FaultLog(logger, () => now)
  const repeat = () => {
    faults.warn({ peer: '1.1.1.1', reason: 'a' }, 'fault')
    faults.warn({ peer: '1.1.1.1', reason: 'b' }, 'fault')
    faults.warn({ peer: '2.2.2.2', reason: 'a' }, 'fault')
  }
  repeat()
  repeat()
  expect(lines).toHaveLength(3)
  now += FAULT_LOG_MS - 1
  repeat()
  expect(lines).toHaveLength(3)
  now += 1
  repeat()
  expect(lines).toHaveLength(6)
})

test('it remembers no more than its limit', () => {
  const { logger, lines } = recordingLogger()
  const faults = new FaultLog(logger, () => 0)
  for (let peer = 0; peer <= FAULT_LOG_KINDS_MAX; peer++) faults.warn({ peer: String(peer) }, 'fault')
  faults.warn({ peer: '1' }, 'fault') // still known
  expect(lines).toHaveLength(FAULT_LOG_KINDS_MAX + 1)
  faults.warn({ peer: '0' }, 'fault') // forgotten
  expect(lines).toHaveLength(FAULT_LOG_KINDS_MAX + 2)
})
