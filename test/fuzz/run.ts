import { Worker } from 'node:worker_threads'
import { INPUT_BYTES_MAX } from './fuzzer.ts'

/** One input is parsed in microseconds. */
const HANG_MS = 5_000
/** Far above what a target needs for inputs of 16 KiB, and its corpus. */
export const HEAP_BYTES_MAX = 128 * 1024 * 1024
const WATCH_MS = 250

export interface FuzzJob {
  readonly targetModule: string
  readonly target: string
  readonly seed: number
  readonly corpus: readonly Uint8Array[]
  /** Two words, length and count of executions, then the input that is being tried. */
  readonly current: SharedArrayBuffer
}

export type FuzzMessage =
  | { readonly type: 'progress'; readonly executions: number; readonly corpus: number }
  | { readonly type: 'crash'; readonly input: Uint8Array; readonly error: string }
  | { readonly type: 'end'; readonly executions: number; readonly corpus: Uint8Array[] }

export interface FuzzResult {
  readonly executions: number
  /** Without a failure. */
  readonly corpus: readonly Uint8Array[]
  readonly failure?: { readonly input: Uint8Array; readonly error: string }
}

export interface FuzzOptions {
  readonly targetModule?: string
  readonly seconds: number
  readonly seed: number
  readonly corpus: readonly Uint8Array[]
  readonly hangMs?: number
  readonly progress?: (executions: number, corpus: number) => void
}

/** Fuzzes in a thread until the time is over or a promise is broken: a crash, a hang, or more memory than there is. */
export function fuzz(target: string, options: FuzzOptions): Promise<FuzzResult> {
  const current = new SharedArrayBuffer(8 + INPUT_BYTES_MAX)
  const counts = new Uint32Array(current, 0, 2)
  const inputNow = () => new Uint8Array(Buffer.from(current).subarray(8, 8 + counts[0]!))
  const { targetModule = new URL('./targets.ts', import.meta.url).href, seed, corpus } = options
  const worker = new Worker(new URL('./worker.ts', import.meta.url), {
    workerData: { targetModule, target, seed, corpus, current } satisfies FuzzJob,
    // The vhost-user target hands descriptors to C and back, which Node would take for leaks.
    trackUnmanagedFds: false,
  })
  const { promise, resolve } = Promise.withResolvers<FuzzResult>()
  const fail = (error: string, input: Uint8Array = inputNow()) =>
    resolve({ executions: counts[1]!, corpus: [], failure: { input, error } })
  worker.on('message', (message: FuzzMessage) => {
    if (message.type === 'progress') options.progress?.(message.executions, message.corpus)
    else if (message.type === 'crash') fail(message.error, message.input)
    else resolve(message)
  })
  worker.on('error', (error) => fail(String(error.stack ?? error)))
  const stop = setTimeout(() => worker.postMessage('stop'), options.seconds * 1000)
  let seen = { executions: 0, at: performance.now() }
  const watch = setInterval(() => {
    if (counts[1] !== seen.executions) seen = { executions: counts[1]!, at: performance.now() }
    else if (performance.now() - seen.at > (options.hangMs ?? HANG_MS)) fail('it hangs')
  }, WATCH_MS)
  return promise.finally(() => {
    clearTimeout(stop)
    clearInterval(watch)
    // Not waited for: what hangs in a system call does not end.
    worker.terminate()
  })
}
