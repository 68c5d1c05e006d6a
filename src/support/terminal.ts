import { fstatSync } from 'node:fs'

/** The major number of /dev/null and its kin (mem(4)). */
const MEMORY_DEVICES = 1

/**
 * Whether a standard stream is surely none, which costs microseconds to see. To tell whether it is one Node has to make a stream of it,
 * and load what that is made of: milliseconds, which a process that serves does not have at its start.
 */
export function isNoTerminal(fd: 0 | 1 | 2): boolean {
  try {
    const { rdev } = fstatSync(fd)
    return rdev === 0 || rdev >>> 8 === MEMORY_DEVICES
  } catch {
    return true
  }
}
