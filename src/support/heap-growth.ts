import { setFlagsFromString } from 'node:v8'
import { HEAP_GROWTH_PERCENT } from './limits.ts'

/**
 * For processes that go on for long: by itself V8 lets the heap grow to four times of what is kept before it looks at what
 * became old, which is what most of the memory of a mount was.
 */
export function limitHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`)
}
