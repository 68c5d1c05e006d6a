import { expect, test, vi } from 'vitest'
import { FaultLog } from '../../../src/support/fault-log.ts'
import { FAULT_LOG_KINDS_MAX, FAULT_LOG_LINES_MAX, FAULT_LOG_MS } from '../../../src/support/limits.ts'
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
  for (let peer = 0; peer <= FAULT_LOG_KINDS_MAX; peer++)
    faults.warn({ peer: String(peer), code: String(peer) }, 'fault')
  faults.warn({ peer: '1', code: '1' }, 'fault') // still known
  expect(lines).toHaveLength(FAULT_LOG_KINDS_MAX + 1)
  faults.warn({ peer: '0', code: '0' }, 'fault') // forgotten
  expect(lines).toHaveLength(FAULT_LOG_KINDS_MAX + 2)
})

test('of many different ones the first are told, and then how many more there were', () => {
  vi.useFakeTimers()
  try {
    const { logger, lines } = recordingLogger()
    const faults = new FaultLog(logger)
    const burst = (count: number, code: string) => {
      for (let inode = 0; inode < count; inode++)
        faults.error({ inode, code }, `READ of inode ${inode} failed`)
    }
    burst(FAULT_LOG_LINES_MAX + 1000, 'unavailable')
    expect(lines.splice(0)).toMatchObject([
      ...Array.from({ length: FAULT_LOG_LINES_MAX }, (_, inode) => ({ level: 'error', inode })),
      { level: 'warn', code: 'unavailable', msg: 'too many failures to tell each; --log-level debug does' },
    ])
    burst(1, 'corrupt') // which nobody must overlook for the others
    expect(lines.splice(0)).toMatchObject([{ level: 'error', code: 'corrupt' }])
    vi.advanceTimersByTime(FAULT_LOG_MS)
    expect(lines.splice(0)).toMatchObject([
      { code: 'unavailable', failures: 1000, msg: 'there were more failures' },
    ])
    burst(1, 'unavailable')
    expect(lines).toMatchObject([{ level: 'error', inode: 0 }])
  } finally {
    vi.useRealTimers()
  }
})
