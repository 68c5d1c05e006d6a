import { fstatSync } from 'node:fs'
import { StoreError } from '../../support/errors.ts'

/** The first descriptor that a service manager passes (sd_listen_fds(3)). */
const FIRST_FD = 3

export interface Activation {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly pid: number
  /** Descriptor 3 is taken for a socket of ours even where the variables do not say so. */
  readonly ignoreEnvironment: boolean
}

/**
 * The descriptors of listening sockets that the service manager passed: the first, those of the name `selection`,
 * or all of them for `*`. `LISTEN_PID` must be this process, so that a child does not take its parent's sockets.
 * Throws StoreErrors that say what is missing.
 */
export function inheritedSockets(selection: string | undefined, activation: Activation): number[] {
  const fds = choose(selection, activation)
  for (const fd of fds)
    if (!isSocket(fd)) throw new StoreError('precondition', `descriptor ${fd} is no socket`)
  return fds
}

function choose(
  selection: string | undefined,
  { environment, pid, ignoreEnvironment }: Activation,
): number[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES } = environment
  const count = LISTEN_FDS && /^[0-9]{1,5}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : 0
  if (ignoreEnvironment) {
    if (selection === undefined || count === 0) return [FIRST_FD]
  } else if (LISTEN_PID !== String(pid) || count === 0) {
    throw new StoreError(
      'precondition',
      `no sockets were passed to this process (LISTEN_PID=${LISTEN_PID ?? ''}, LISTEN_FDS=${LISTEN_FDS ?? ''})`,
    )
  }
  const all = Array.from({ length: count }, (_, index) => FIRST_FD + index)
  if (selection === undefined) return [FIRST_FD]
  if (selection === '*') return all
  const names = (LISTEN_FDNAMES ?? '').split(':')
  const named = all.filter((_, index) => names[index] === selection)
  if (named.length === 0)
    throw new StoreError(
      'precondition',
      `none of the sockets passed is named so (LISTEN_FDNAMES=${names.join(':')})`,
    )
  return named
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket()
  } catch {
    return false
  }
}
