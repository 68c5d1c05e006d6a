import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { fixHeapGrowth } from './heap-growth.ts'
import { BUFFER_GARBAGE_BYTES_MAX, BUFFERS_JUDGED_BYTES_MIN, OLD_BUFFER_GARBAGE_BYTES_MAX } from './limits.ts'

/**
 * Left alone, V8 walks the whole heap after every few MiB of buffers, dead or not: when bulk data is moved, that is more
 * than half of all work. Buffers that are dropped within moments are young, and to collect the young costs next to
 * nothing; but as they are few, V8 sees no reason to. So whoever makes bulk buffers counts them here, and V8 is told to
 * judge the memory of buffers like that of objects: not before there are some, since node:v8 takes milliseconds to load.
 *
 * It must let them grow, too: to V8 a process whose work is done in buffers looks idle, and it would let it grow by a tenth, which is
 * less than the young buffers of a moment. The whole heap was walked every 25 MiB then, for half of what a server did.
 */
function judgeBuffers(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit')
  fixHeapGrowth()
}

let areJudged = false

type Collect = (options: { readonly type: 'minor' | 'major'; readonly execution?: 'async' }) => unknown

/** Fetched when it is needed: that takes a context of its own, and most commands end before. */
let collect: Collect | undefined

function fetchCollect(): Collect {
  setFlagsFromString('--expose-gc')
  const fetched = runInNewContext('gc') as Collect
  setFlagsFromString('--no-expose-gc')
  return fetched
}

let made = 0

/** Call it with the size of buffers that were made for data on its way through. */
export function countBuffers(bytes: number): void {
  made += bytes
  if (!areJudged && made >= BUFFERS_JUDGED_BYTES_MIN) {
    judgeBuffers()
    areJudged = true
  }
  if (made < BUFFER_GARBAGE_BYTES_MAX) return
  made = 0
  collect ??= fetchCollect()
  collect({ type: 'minor' })
}

let old = 0

/**
 * Call it with the size of buffers that were kept and are dropped: a walk through a large store drops gigabytes of directories
 * that have grown old, and V8 would let hundreds of megabytes of them wait. They are collected when nothing else runs.
 */
export function countOldBuffers(bytes: number): void {
  old += bytes
  if (old < OLD_BUFFER_GARBAGE_BYTES_MAX) return
  old = 0
  collect ??= fetchCollect()
  collect({ type: 'major', execution: 'async' })
}
