/** Runs in a thread of its own, so that what hangs can be ended and its input told. */
import { getHeapStatistics } from 'node:v8'
import { parentPort, workerData } from 'node:worker_threads'
import { Fuzzer } from './fuzzer.ts'
import { type FuzzJob, type FuzzMessage, HEAP_BYTES_MAX } from './run.ts'

const { targetModule, target, seed, corpus, current } = workerData as FuzzJob
const { TARGETS } = (await import(targetModule)) as typeof import('./targets.ts')
/** Some seconds at most. */
const BATCH = 500

const length = new Uint32Array(current, 0, 2)
const bytes = new Uint8Array(current, 8)
const remember = (input: Uint8Array) => {
  bytes.set(input)
  length[0] = input.length
  Atomics.add(length, 1, 1)
}

const post = (message: FuzzMessage) => parentPort!.postMessage(message)
let stopped = false
parentPort!.once('message', () => {
  stopped = true
})

const fuzzer = new Fuzzer(TARGETS[target]!, seed, corpus, remember)
for (;;) {
  const crash = await fuzzer.run(BATCH)
  if (crash) {
    const error =
      crash.error instanceof Error ? (crash.error.stack ?? crash.error.message) : String(crash.error)
    post({ type: 'crash', input: crash.input, error })
    break
  }
  const { used_heap_size: heap } = getHeapStatistics()
  if (heap > HEAP_BYTES_MAX) {
    post({ type: 'crash', input: new Uint8Array(0), error: `memory: ${heap} bytes of heap are in use` })
    break
  }
  post({ type: 'progress', executions: fuzzer.executions, corpus: fuzzer.corpus.length })
  await new Promise(setImmediate)
  if (stopped) {
    post({ type: 'end', executions: fuzzer.executions, corpus: [...fuzzer.corpus] })
    break
  }
}
parentPort!.close()
