/** One process: its memory, its output and its end. */
import { KiB, MiB } from './units.ts'

// — Memory —

/** What every command keeps below, whatever is large (test/interop/memory.test.ts). */
export const PROCESS_BYTES_MAX = 512 * MiB
/** Dead buffers are collected when this much was made: well below the 64 MiB at which V8 collects everything. */
export const BUFFER_GARBAGE_BYTES_MAX = 32 * MiB
/** So much is made before V8 is told to judge buffers like objects: what fewer weigh, nobody collects for. */
export const BUFFERS_JUDGED_BYTES_MIN = 1 * MiB
/** The same for buffers that were kept for a while: collecting those takes tens of milliseconds, and so is asked for more rarely. */
export const OLD_BUFFER_GARBAGE_BYTES_MAX = 64 * MiB
/** Memory that is used again and again is given up when nobody wanted it at the end of this. */
export const ROOMS_IDLE_MS = 1_000
/** What V8 adds to what is kept of the heap, in percent of that, before it collects what is old. */
export const HEAP_GROWTH_PERCENT = 100
/** When that begins: after whoever waited for the start has had a look. */
export const HEAP_GROWTH_AFTER_MS = 1_000

// — Processes —

/** Text for standard output is gathered up to this before it is written. */
export const TEXT_OUTPUT_CHARACTERS = 16 * KiB

/** A process that ends at once waits so long for fusermount3 to take its mount away. */
export const FUSERMOUNT_EXIT_MS_MAX = 2_000
/** What was begun may take this long to finish after a stop signal; then it is cut. */
export const SHUTDOWN_MS_MAX = 10_000
