import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CopyProgress } from '../../../src/cli/copy-progress.ts'

const MiB = 1024 * 1024
const paths = [{ narSize: BigInt(30 * MiB) }, { narSize: BigInt(10 * MiB) }]

let now = 0
let progress: CopyProgress

beforeEach(() => {
  now = 0
  progress = new CopyProgress(paths, 3, () => now)
})
afterEach(() => progress.stop())

test('bytes, rate and time left', () => {
  expect(progress.line()).toBe('copying 0/2 paths, 0 B of 40.0 MiB, 0 B moved at 0 B/s, 0.0 s')
  now = 1000
  progress.moved(8 * MiB)
  progress.present(2 * MiB)
  expect(progress.line()).toBe(
    'copying 0/2 paths, 10.0 MiB of 40.0 MiB, 8.0 MiB moved at 8.0 MiB/s, about 3.0 s left',
  )
  progress.done(paths[0]!)
  expect(progress.line()).toMatch(/^copying 1\/2 paths, 30.0 MiB of 40.0 MiB, .* about 0.3 s left$/)
})

test('never more than all of it, however much was skipped or read twice', () => {
  now = 1000
  progress.present(100 * MiB)
  expect(progress.line()).toContain('40.0 MiB of 40.0 MiB')
})

test('stalled when nothing moves, and not while a NAR is calculated', () => {
  progress.moved(1)
  now = 9_999
  expect(progress.line()).toContain('left')
  now = 12_000
  expect(progress.line()).toMatch(/stalled for 12.0 s$/)
  progress.checking(paths[0]!)
  now = 30_000
  expect(progress.line()).toMatch(/checking 1 NAR for 18.0 s$/)
  progress.done(paths[0]!)
  now = 42_000
  expect(progress.line()).toMatch(/stalled for 12.0 s$/)
})

test('the summary', () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  progress.moved(8 * MiB)
  for (const path of paths) progress.done(path)
  now = 2000
  progress.finish()
  expect(write.mock.calls.flat().join('')).toContain(
    'copied 2/2 paths (3 present before), 8.0 MiB of 40.0 MiB moved at 4.0 MiB/s, 2.0 s\n',
  )
  write.mockRestore()
  expect(progress.summary).toEqual({
    paths: { copied: 2, present: 3 },
    narBytes: 40 * MiB,
    movedBytes: 8 * MiB,
    seconds: 2,
  })
})
