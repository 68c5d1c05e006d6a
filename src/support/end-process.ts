import { flushCompileCache } from 'node:module'
import { loadAddon } from './addon.ts'

/** Of Node, which writes what it asks for at the very end. */
const PROFILES = /--(?:cpu|heap)-prof/

/**
 * Ends the process after those who listen for its `exit`, with what Node keeps of compiled code, and without waiting for any thread.
 * Node would wait for those of V8, of which one that compiles may wait for a collection that nobody begins any more: some of a hundred
 * mounts that had done all their work, and were busy a moment ago, never ended (nodejs/node#54918). Where the addon was not
 * built it ends as Node does it.
 */
export function endProcess(code: number): never {
  if (!isProfiled()) process.once('exit', endNow)
  process.exit(code)
}

/** Listens last, so nothing else is left to be done. */
function endNow(code: number): void {
  flushCompileCache()
  try {
    const { endNow } = loadAddon('process_end') as { endNow(code: number): void }
    endNow(code)
  } catch {
    // It was not built.
  }
}

function isProfiled(): boolean {
  const { NODE_OPTIONS, NODE_V8_COVERAGE } = process.env
  return NODE_V8_COVERAGE !== undefined || PROFILES.test(`${process.execArgv.join(' ')} ${NODE_OPTIONS}`)
}
