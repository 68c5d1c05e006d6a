import { describe, expect, it, test } from 'vitest'
import { throwIfAborted, withDeadline } from '../../../src/support/call.ts'
import { ERROR_TABLE, isRetryable, StoreError, systemCode, withContext } from '../../../src/support/errors.ts'

describe('any thrown value becomes a StoreError:', () => {
  it('a StoreError stays itself', () => {
    const error = new StoreError('corrupt', 'bad')
    expect(StoreError.from(error)).toBe(error)
  })

  it('an abort is cancelled, a timeout a deadline', () => {
    expect(StoreError.from(AbortSignal.abort().reason).code).toBe('cancelled')
    expect(StoreError.from(new DOMException('late', 'TimeoutError')).code).toBe('deadline')
  })

  it('what nobody foresaw is internal and keeps its cause', () => {
    const cause = new TypeError('undefined is not a function')
    expect(StoreError.from(cause)).toMatchObject({ code: 'internal', message: cause.message, cause })
    expect(StoreError.from('text')).toMatchObject({ code: 'internal', message: 'text' })
    expect(StoreError.from(undefined).code).toBe('internal')
  })
})

test('context that a message begins with is not told twice', () => {
  const inner = new StoreError('unavailable', 'grpc+http://h: nobody answers')
  expect(withContext('grpc+http://h', inner).message).toBe('grpc+http://h: nobody answers')
  expect(withContext('grpc+http', inner).message).toBe('grpc+http: grpc+http://h: nobody answers')
})

test('context is added to the message and the code stays', () => {
  const inner = new StoreError('unavailable', 'connection refused')
  expect(withContext('reading blob x', inner)).toMatchObject({
    code: 'unavailable',
    message: 'reading blob x: connection refused',
    cause: inner,
  })
})

test('the table has distinct gRPC codes, and an errno, an HTTP and an exit status that say "failure"', () => {
  const rows = Object.values(ERROR_TABLE)
  expect(new Set(rows.map((row) => row.grpc)).size).toBe(rows.length)
  for (const row of rows) {
    expect(row.errno).toBeGreaterThan(0)
    expect(row.http).toBeGreaterThanOrEqual(400)
    expect(row.exit).toBeGreaterThan(0)
  }
})

test('only what may pass is worth another try', () => {
  expect(isRetryable(new StoreError('unavailable', ''))).toBe(true)
  expect(isRetryable(new StoreError('corrupt', ''))).toBe(false)
  expect(isRetryable(new Error('bug'))).toBe(false)
})

test('system errors tell their code', () => {
  expect(systemCode(Object.assign(new Error(), { code: 'ENOENT' }))).toBe('ENOENT')
  for (const other of [new Error(), { code: 5 }, null, undefined, 'ENOENT'])
    expect(systemCode(other)).toBeUndefined()
})

describe('a call', () => {
  it('with an aborted signal throws its reason as a StoreError', () => {
    throwIfAborted(undefined)
    throwIfAborted(new AbortController().signal)
    const reason = new StoreError('denied', 'no')
    expect(() => throwIfAborted(AbortSignal.abort(reason))).toThrow(reason)
    expect(() => throwIfAborted(AbortSignal.abort())).toThrow(StoreError)
  })

  it('ends at its deadline, naming what was late', async () => {
    using call = withDeadline(undefined, 1, 'Stat of grpc+http://x')
    await new Promise((resolve) => call.signal.addEventListener('abort', resolve))
    expect(call.signal.reason).toMatchObject({ code: 'deadline' })
    expect(String(call.signal.reason)).toContain('Stat of grpc+http://x')
  })

  it('ends with the outer signal, aborted before or later', () => {
    const reason = new StoreError('cancelled', 'the test aborts')
    using before = withDeadline({ signal: AbortSignal.abort(reason) }, 60_000, 'x')
    expect(before.signal.reason).toBe(reason)
    const controller = new AbortController()
    using later = withDeadline({ signal: controller.signal }, 60_000, 'x')
    controller.abort(reason)
    expect(later.signal.reason).toBe(reason)
  })

  it('is left alone once its work is done', () => {
    const controller = new AbortController()
    const call = withDeadline({ signal: controller.signal }, 60_000, 'x')
    call[Symbol.dispose]()
    controller.abort()
    expect(call.signal.aborted).toBe(false)
  })
})
