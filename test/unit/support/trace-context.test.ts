import { expect, test } from 'vitest'
import { continueTrace } from '../../../src/support/trace-context.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'

test.each([
  ['the version of today', `00-${TRACE}-${PARENT}-01`],
  ['a later version, with more behind', `cc-${TRACE}-${PARENT}-01-what-comes`],
])('%s: the same trace and flags, an id of our own', (_, header) => {
  const [version, trace, id, flags] = continueTrace(header)!.split('-')
  expect({ version, trace, flags }).toEqual({ version: '00', trace: TRACE, flags: '01' })
  expect(id).toMatch(/^[0-9a-f]{16}$/)
  expect(id).not.toBe(PARENT)
})

test.each([
  ['none', undefined],
  ['nothing', ''],
  ['another thing', 'nonsense'],
  ['the forbidden version', `ff-${TRACE}-${PARENT}-01`],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${PARENT}-01`],
  ['a parent of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['upper case', `00-${TRACE.toUpperCase()}-${PARENT}-01`],
  ['flags that do not end', `00-${TRACE}-${PARENT}-01x`],
])('%s is ignored', (_, header) => {
  expect(continueTrace(header)).toBeUndefined()
})
