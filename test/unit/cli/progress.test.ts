import { expect, test } from 'vitest'
import { formatSeconds } from '../../../src/cli/progress.ts'

test.each([
  [0.04, '0.0 s'],
  [59.94, '59.9 s'],
  [61, '1 min 1 s'],
  [119.7, '2 min 0 s'],
])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text))
