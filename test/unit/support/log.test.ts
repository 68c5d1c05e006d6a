import { expect, test } from 'vitest'
import { StoreError } from '../../../src/support/errors.ts'
import { type LogEvent, lineOf, loggerTo } from '../../../src/support/log.ts'

const NOW = new Date(2026, 10, 3, 4, 5, 6, 7)
const line = (event: Partial<LogEvent>, isColoured = false) =>
  lineOf({ level: 'info', fields: {}, message: 'mounted', ...event }, NOW, isColoured)

test('an event is one line, with its time, level and fields', () => {
  expect(line({})).toBe('[2026-11-03 04:05:06.007] INFO: mounted')
  expect(line({ level: 'warn', fields: { target: '/nix/store', bytes: 1n } })).toBe(
    '[2026-11-03 04:05:06.007] WARN: mounted {"target":"/nix/store","bytes":"1"}',
  )
  expect(line({ level: 'error' }, true)).toBe('[2026-11-03 04:05:06.007] \u001b[31mERROR\u001b[39m: mounted')
})

test('an error in it is told with its code, stack and cause', () => {
  const error = new StoreError('corrupt', 'blob x is not what it was', { cause: new TypeError('why') })
  const shown = line({ fields: { err: error } })
  expect(shown).not.toContain('\n')
  const { err } = JSON.parse(shown.slice(shown.indexOf('{')))
  expect(err).toMatchObject({
    type: 'StoreError',
    code: 'corrupt',
    message: 'blob x is not what it was',
    stack: expect.stringContaining('log.test.ts'),
    cause: { type: 'TypeError', message: 'why' },
  })
})

test('nothing that is said can break the line, reach the terminal or fail', () => {
  const circle: { self?: object } = {}
  circle.self = circle
  expect(line({ message: 'a\nb\u001b[31m', fields: { name: 'c\nd\u001b' } })).toBe(
    '[2026-11-03 04:05:06.007] INFO: a\\x0ab\\x1b[31m {"name":"c\\nd\\u001b"}',
  )
  expect(line({ fields: circle })).toContain('unprintable')
})

test('what is less important than the level is not said', () => {
  const told: LogEvent[] = []
  const logger = loggerTo('warn', (event) => void told.push(event))
  logger.debug({}, 'no')
  logger.info({ a: 1 }, 'no')
  logger.warn({}, 'bare')
  logger.error({ a: 1 }, 'worse')
  expect(told).toEqual([
    { level: 'warn', fields: {}, message: 'bare' },
    { level: 'error', fields: { a: 1 }, message: 'worse' },
  ])
})
