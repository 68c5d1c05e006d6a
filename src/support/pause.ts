import { setTimeout as sleep } from 'node:timers/promises'
import { StoreError } from './errors.ts'

/** Those that failed together should not come back together: half of it to all of it. */
export function jittered(ms: number): number {
  return ms * (0.5 + Math.random() / 2)
}

/** Waits, unless the signal aborts: then it throws the reason of that as a StoreError. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {})
  } catch {
    throw StoreError.from(signal?.reason) // `sleep` would say AbortError whatever the reason was
  }
}
