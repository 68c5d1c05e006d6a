import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest'
import { finishUploads } from '../../../src/cli/uploads.ts'
import type { Call } from '../../../src/support/call.ts'
import { StoreError } from '../../../src/support/errors.ts'

let written: MockInstance<typeof process.stderr.write>
beforeEach(() => {
  written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
})
afterEach(() => {
  vi.useRealTimers()
  written.mockRestore()
})

const said = () => written.mock.calls.map(([text]) => String(text)).join('')
const stopOf = (signal: AbortSignal) => ({ signal, requested: new Promise<never>(() => {}) })

/** Uploads that are done when the test says so. */
function uploadsOf(waiting: number) {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const uploads = {
    waiting,
    refused: 0,
    refusal: undefined as StoreError | undefined,
    drained: (call?: Call) => {
      call?.signal?.addEventListener('abort', () => reject(new StoreError('cancelled', 'given up')))
      return promise
    },
  }
  return { uploads, resolve }
}

test('a command waits for what is written behind, and tells when it is there', async () => {
  const { uploads, resolve } = uploadsOf(7)
  const finished = finishUploads({ uploads }, stopOf(new AbortController().signal))
  resolve()
  await finished
  expect(said()).toContain('uploaded 7 objects')
})

test('it goes on waiting while something arrives, and tells what is left when nothing does', async () => {
  vi.useFakeTimers()
  const { uploads } = uploadsOf(7)
  const finished = finishUploads({ uploads }, stopOf(new AbortController().signal))
  for (let sent = 0; sent < 3; sent++) {
    uploads.waiting--
    await vi.advanceTimersByTimeAsync(14_000)
  }
  expect(said()).not.toContain('left')
  await vi.advanceTimersByTimeAsync(3_000)
  await finished
  expect(said()).toContain('4 uploads are left in the queue')
})

test('a signal ends the wait', async () => {
  const stop = new AbortController()
  const { uploads } = uploadsOf(2)
  const finished = finishUploads({ uploads }, stopOf(stop.signal))
  stop.abort()
  await finished
  expect(said()).toContain('2 uploads are left')
})

test('without a queue, or with an empty one, nothing is said', async () => {
  await finishUploads({}, stopOf(new AbortController().signal))
  await finishUploads({ uploads: uploadsOf(0).uploads }, stopOf(new AbortController().signal))
  expect(said()).toBe('')
})

test('what the far side refused of this command is its failure, and the code is that of the refusal', async () => {
  const { uploads, resolve } = uploadsOf(3)
  uploads.refused = 2
  uploads.refusal = new StoreError('denied', 'blob b3:x: not for you')
  const finished = finishUploads({ uploads }, stopOf(new AbortController().signal))
  resolve()
  await expect(finished).rejects.toMatchObject({
    code: 'denied',
    message: expect.stringContaining('2 uploads are kept'),
  })
  expect(said()).toContain('uploaded what the far side takes')
})

test('what was refused earlier is told, and is no failure', async () => {
  const { uploads } = uploadsOf(0)
  uploads.refused = 2
  await finishUploads({ uploads }, stopOf(new AbortController().signal))
  expect(said()).toContain('2 uploads are kept')
})
