import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import { getSystemErrorName } from 'node:util'
import { StoreError, systemCode } from '../../support/errors.ts'
import { FUSERMOUNT_EXIT_MS_MAX } from '../../support/limits.ts'
import { nativeAddon } from './native-addon.ts'

/** The setuid helper of the FUSE project, which mounts for users (fusermount3(1)). */
const PROGRAM = 'fusermount3'
/** The descriptor at which the helper finds its end of the socket. */
const SOCKET_FD = 3

/** Mounts on `target` through the helper; answers with the descriptor that it passes back over a socket. */
export async function fusermountMount(target: string, options: readonly string[]): Promise<number> {
  const ends = new Int32Array(2)
  const failed = nativeAddon().socketPair(ends)
  if (failed < 0) throw new StoreError('internal', `socketpair failed: ${getSystemErrorName(failed)}`)
  const [ours, theirs] = ends as unknown as [number, number]
  try {
    await run(['-o', options.join(','), '--', target], theirs)
    // The helper has sent it before it ended.
    const fd = nativeAddon().receiveDescriptor(ours)
    if (fd >= 0) return fd
    throw new StoreError('internal', `${PROGRAM} passed no descriptor: ${getSystemErrorName(fd)}`)
  } finally {
    closeSync(ours)
    closeSync(theirs)
  }
}

/** Unmounts a mount of this user, as soon as its last user leaves. */
export async function fusermountUnmount(target: string): Promise<void> {
  await run(['-u', '-z', '--', target])
}

/** The same in one go, for a process that is about to end; whether it worked is of no use to anybody by then. */
export function fusermountDetach(target: string): void {
  spawnSync(PROGRAM, ['-u', '-z', '--', target], { stdio: 'ignore', timeout: FUSERMOUNT_EXIT_MS_MAX })
}

async function run(args: readonly string[], socket?: number): Promise<void> {
  const child = spawn(PROGRAM, args, {
    stdio: ['ignore', 'ignore', 'pipe', ...(socket === undefined ? [] : [socket])],
    env: { ...process.env, ...(socket === undefined ? {} : { _FUSE_COMMFD: String(SOCKET_FD) }) },
  })
  const said: Buffer[] = []
  child.stderr!.on('data', (chunk: Buffer) => said.push(chunk))
  let code: unknown
  try {
    ;[code] = await once(child, 'close')
  } catch (error) {
    throw missing(error)
  }
  if (code === 0) return
  throw new StoreError('denied', explained(Buffer.concat(said).toString().trim() || `status ${code}`))
}

/** What the helper says, and what can be done about it. */
function explained(said: string): string {
  const failed = `${PROGRAM} failed: ${said}`
  if (said.includes('user_allow_other'))
    return `${failed}; let root add the line user_allow_other to that file, or leave out --allow-other: then only you see the mount`
  if (/\/dev\/fuse/.test(said)) return `${failed}; its user needs read and write access to /dev/fuse`
  if (/not permitted/.test(said))
    return `${failed}; it must belong to root and be setuid: chmod u+s "$(command -v ${PROGRAM})"`
  return failed
}

function missing(error: unknown): StoreError {
  const code = systemCode(error)
  if (code === 'EACCES' || code === 'EPERM')
    return new StoreError(
      'denied',
      `mounting needs root, or the program ${PROGRAM}, which this user may not run (${code}); some systems let only a group of users do so`,
      { cause: error },
    )
  if (code !== 'ENOENT') return StoreError.from(error)
  return new StoreError(
    'denied',
    `mounting needs root, or the program ${PROGRAM}; on Debian install it with: apt-get install fuse3`,
    { cause: error },
  )
}
