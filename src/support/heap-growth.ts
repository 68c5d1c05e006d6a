import { setFlagsFromString } from 'node:v8'
import { HEAP_GROWTH_AFTER_MS, HEAP_GROWTH_PERCENT } from './limits.ts'

/**
 * For processes that go on for long: by itself V8 lets the heap grow to four times of what is kept before it looks at what
 * became old, which is what most of the memory of a mount was. Not at once: node:v8 loads the streams of Node, and nobody should wait
 * for that who waits for the start; until then there is nothing to collect.
 */
export function limitHeapGrowth(): void {
  setTimeout(fixHeapGrowth, HEAP_GROWTH_AFTER_MS).unref()
}

/** From now on V8 walks the whole heap when it has grown by HEAP_GROWTH_PERCENT, no matter how busy the process seems to it. */
export function fixHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`)
}
