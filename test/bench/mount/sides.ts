/** Who is compared: ext4 itself, and everybody who shows the same files through FUSE. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { loadLibfuse } from '../../../src/mount/fuse/libfuse-binding.ts'
import { hasProgram } from '../../support/requirements.ts'
import type { Fixture } from './fixture.ts'
import { builtTvixStore, run, tvixStoreInJavaScript } from './programs.ts'

/** Where one side has what is compared. */
export interface Place extends AsyncDisposable {
  /** The folder `name` of the fixture. */
  at(name: string): string
}

export interface Side {
  readonly name: string
  open(fixture: Fixture): Promise<Place>
}

export function ours(name: string, ...flags: string[]): Side {
  return tvixStore(name, builtTvixStore, flags)
}

export const JAVASCRIPT: Side = tvixStore('JavaScript alone', (folder) => tvixStoreInJavaScript(folder), [])

const LIBFUSE = ours('libfuse driver', '--driver', 'libfuse')

/** The low-level program, which keeps what the kernel knows by inode. */
const SQUASHFUSE: Side = {
  name: 'squashfuse',
  async open(fixture) {
    const image = imageOf(fixture)
    const target = join(fixture.folder, 'squashfuse')
    mkdirSync(target, { recursive: true })
    const child = spawn('squashfuse_ll', ['-f', image, target], { stdio: 'ignore' })
    await mounted(target, child)
    return {
      at: (name) => join(target, name),
      [Symbol.asyncDispose]: () => ended(child, () => void run(['umount'], [target])),
    }
  },
}

/** The rivals that this machine has; says which it has not. */
export function rivals(): readonly Side[] {
  const found: Side[] = []
  try {
    loadLibfuse()
    found.push(LIBFUSE)
  } catch (error) {
    console.error(`not compared with the libfuse driver: ${(error as Error).message}`)
  }
  if (hasProgram('squashfuse_ll') && hasProgram('mksquashfs')) found.push(SQUASHFUSE)
  else console.error('not compared with squashfuse (Debian: apt-get install squashfuse squashfs-tools)')
  return found
}

/** Files that nobody shows to anybody. */
export function onDisk(fixture: Fixture): Place {
  return { at: (name) => join(fixture.content, name), [Symbol.asyncDispose]: async () => {} }
}

/** The image with everything, made when it is needed. */
function imageOf({ folder, content }: Fixture): string {
  const image = join(folder, 'image.squashfs')
  const flags = ['-comp', 'zstd', '-Xcompression-level', '3', '-quiet', '-no-progress', '-all-root']
  if (!existsSync(image)) run(['mksquashfs'], [content, image, ...flags])
  return image
}

function tvixStore(
  name: string,
  program: (folder: string) => readonly string[],
  flags: readonly string[],
): Side {
  let command: readonly string[] | undefined
  return {
    name,
    async open({ folder, storeFlags, storePaths }) {
      command ??= program(join(folder, name.replaceAll(' ', '-')))
      const target = join(folder, `mnt-${name.replaceAll(/\W/g, '-')}`)
      mkdirSync(target, { recursive: true })
      const child = await startMount(command, [...storeFlags, ...flags, target])
      return {
        at: (content) => join(target, storePaths[content]!),
        [Symbol.asyncDispose]: () => ended(child, () => void child.kill('SIGTERM')),
      }
    },
  }
}

/** Resolves when it says that it serves. */
export async function startMount(
  command: readonly string[],
  flags: readonly string[],
): Promise<ChildProcess> {
  const [program = '', ...args] = [...command, 'mount', '--ready-fd=3', ...flags]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] })
  const exited = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`no mount: ${args.join(' ')}: ${code}`)),
  )
  await Promise.race([once(child.stdio[3]!, 'data'), exited])
  exited.catch(() => {})
  return child
}

async function mounted(target: string, child: ChildProcess): Promise<void> {
  while (!readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${target} `)) {
    if (child.exitCode !== null) throw new Error(`nothing was mounted on ${target}`)
    await pause(1)
  }
}

export async function ended(child: ChildProcess, end: () => void): Promise<void> {
  const exited = once(child, 'exit')
  end()
  await exited
}
