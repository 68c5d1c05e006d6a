import { readFileSync } from 'node:fs'
import { detachNow } from './kernel-mount.ts'
import { type MountEntry, parseMountTable, topMount } from './mount-table.ts'

/**
 * Takes a mount away when the process ends without having unmounted it (a second signal ends it at once): what stayed would
 * answer nobody. Whoever still stands in it gets errors. Call the result when it is unmounted.
 */
export function unmountAtExit({ target, device }: MountEntry): () => void {
  const detach = () => {
    const top = topMount(parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8')), target)
    if (top?.device === device) detachNow(target)
  }
  process.once('exit', detach)
  return () => process.off('exit', detach)
}
