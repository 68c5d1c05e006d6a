import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

/** From `src/support` and from `dist/support` alike. */
const FOLDER = fileURLToPath(new URL('../../native/build/', import.meta.url))

/** What came of each that was asked for: a module that offers something, or the error. */
const asked = new Map<string, { exports: unknown } | { error: unknown }>()

/**
 * What `native/build/NAME.node` offers. Throws what the system says of one that was not built, or does not load. Not by `require`, which
 * looks at every folder on the way to the file: half of the time until an addon was there.
 */
export function loadAddon(name: string): unknown {
  const outcome = asked.get(name) ?? load(name)
  asked.set(name, outcome)
  if ('error' in outcome) throw outcome.error
  return outcome.exports
}

function load(name: string): { exports: unknown } | { error: unknown } {
  const addon = { exports: {} }
  try {
    process.dlopen(addon, `${FOLDER}${name}.node`, constants.dlopen.RTLD_LAZY)
    return addon
  } catch (error) {
    return { error }
  }
}
