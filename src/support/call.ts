import { StoreError } from './errors.ts'

/** What every call that may wait takes. */
export interface Call {
  /** Aborting it ends the call with `cancelled` (or with the abort's reason, if that is a StoreError). */
  readonly signal?: AbortSignal | undefined
  /** The request that this call is part of (W3C Trace Context), told to the peers that are asked for it. */
  readonly traceparent?: string | undefined
  /** Whether somebody else can be asked: then a source that is away is not waited for. */
  readonly hasOthers?: boolean
}

/** Throws the reason of an aborted signal as a StoreError. Call it between the steps of long work. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw StoreError.from(signal.reason)
}

/**
 * The call's signal joined with a deadline: after `ms` milliseconds it aborts with `deadline`, naming `what`.
 * Dispose of it (`using`) when the work is done, else the timer lives on.
 */
export function withDeadline(
  call: Call | undefined,
  ms: number,
  what: string,
): Call & { signal: AbortSignal } & Disposable {
  const controller = new AbortController()
  const timer = setTimeout(
    () => controller.abort(new StoreError('deadline', `${what}: no answer within ${ms / 1000} s`)),
    ms,
  )
  const outer = call?.signal
  const forward = () => controller.abort(outer?.reason)
  if (outer?.aborted) forward()
  else outer?.addEventListener('abort', forward, { once: true })
  return {
    signal: controller.signal,
    [Symbol.dispose]() {
      clearTimeout(timer)
      outer?.removeEventListener('abort', forward)
    },
  }
}

const callbacks = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls back when the signal aborts, which it must not have yet; call the result to take that back. Thousands of blobs
 * wait on the signal of one import, and an EventTarget looks at all of its listeners whenever one is added.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const all = callbacks.get(signal) ?? listenOnce(signal)
  all.add(callback)
  return () => void all.delete(callback)
}

function listenOnce(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>()
  callbacks.set(signal, all)
  const callAll = () => {
    for (const callback of all) callback()
  }
  signal.addEventListener('abort', callAll, { once: true })
  return all
}
