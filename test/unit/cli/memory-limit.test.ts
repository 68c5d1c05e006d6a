import { expect, test } from 'vitest'
import { warnOfMemoryLimit } from '../../../src/cli/memory-limit.ts'
import { recordingLogger } from '../../support/recording-logger.ts'

test('a limit below what is promised is told, with what to do', () => {
  const { logger, lines } = recordingLogger()
  // None, none in the words of the kernel, and enough.
  for (const limit of [0, 2 ** 64, 2 ** 63 - 4096, 512 * 2 ** 20]) warnOfMemoryLimit(logger, limit)
  expect(lines).toEqual([])
  warnOfMemoryLimit(logger, 256 * 2 ** 20)
  expect(lines).toMatchObject([
    {
      level: 'warn',
      limit: '256.0 MiB',
      msg: expect.stringMatching(/^up to 512\.0 MiB .*: raise MemoryMax=$/),
    },
  ])
})
