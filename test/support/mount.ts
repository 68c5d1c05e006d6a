import { type ChildProcessByStdio, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { MountEnd } from '../../src/mount/fuse/interface.ts'
import type { StatsSnapshot } from '../../src/mount/fuse/stats.ts'

/** Nothing that a test starts may outlive this. */
const LIFETIME_SECONDS = 600

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CHILD = join(ROOT, 'test/support/mount-child.ts')

export interface Outcome {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Why mounts cannot be tested on this machine, or undefined. Builds the addon when it is missing. */
export function whyNoMounts(): string | undefined {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'not root'
  for (const program of ['unshare', 'nsenter', 'timeout', 'python3'])
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `no program ${program}`
  if (spawnSync('test', ['-c', '/dev/fuse']).status !== 0) return 'no /dev/fuse'
  const build = spawnSync(process.execPath, [join(ROOT, 'scripts/build-native.mjs')], { encoding: 'utf8' })
  return build.status === 0 ? undefined : `the addon cannot be built: ${build.stderr.trim()}`
}

/**
 * A mount namespace of its own: what is mounted in it is seen by nobody else and is gone with its last process.
 * Programs run in it; the test itself never touches a mount.
 */
export class MountNamespace implements AsyncDisposable {
  readonly folder: string
  readonly #holder: ChildProcessByStdio<null, Readable, null>
  readonly #mounts: ChildMount[] = []

  private constructor(folder: string, holder: ChildProcessByStdio<null, Readable, null>) {
    this.folder = folder
    this.#holder = holder
  }

  static async create(): Promise<MountNamespace> {
    const folder = await mkdtemp(join(tmpdir(), 'tvix-store-mount-'))
    const holder = spawn(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-c', `echo ready; exec sleep ${LIFETIME_SECONDS}`],
      { stdio: ['ignore', 'pipe', 'inherit'], cwd: '/' },
    )
    await once(holder.stdout, 'data')
    return new MountNamespace(folder, holder)
  }

  /** An empty directory to mount on. */
  async directory(name: string): Promise<string> {
    const path = join(this.folder, name)
    await mkdir(path)
    return path
  }

  #inside(program: string, args: readonly string[]): [string, string[]] {
    const namespace = `/proc/${this.#holder.pid}/ns/mnt`
    return [
      'timeout',
      ['-s', 'KILL', String(LIFETIME_SECONDS), 'nsenter', `--mount=${namespace}`, '--', program, ...args],
    ]
  }

  /** Runs a program to its end. */
  run(program: string, ...args: string[]): Promise<Outcome> {
    const [command, all] = this.#inside(program, args)
    return new Promise((resolve) => {
      const child = execFile(command, all, { cwd: '/', maxBuffer: 64 * 1024 * 1024 }, (_, stdout, stderr) =>
        resolve({ status: child.exitCode, signal: child.signalCode, stdout, stderr }),
      )
    })
  }

  /** Runs a Python program, which prints JSON; throws when it fails. */
  async python(script: string, ...args: string[]): Promise<unknown> {
    const { status, stdout, stderr } = await this.run('python3', '-c', script, ...args)
    if (status !== 0) throw new Error(`python3 failed (${status}): ${stderr}`)
    return JSON.parse(stdout)
  }

  spawn(program: string, ...args: string[]): ChildProcessByStdio<null, Readable, null> {
    const [command, all] = this.#inside(program, args)
    return spawn(command, all, { cwd: '/', stdio: ['ignore', 'pipe', 'inherit'] })
  }

  /**
   * Mounts the tree called `kind` (see mount-child.ts) on `target`; rejects with what the child said. `as`: the
   * program that runs the child, with its arguments, such as `setpriv`.
   */
  async mount(
    kind: string,
    target: string,
    options: object = {},
    as: readonly string[] = [],
  ): Promise<ChildMount> {
    const [program, ...args] = [...as, process.execPath, CHILD, kind, target, JSON.stringify(options)]
    const child = this.spawn(program!, ...args)
    const mount = new ChildMount(child, target)
    const first = await mount.message()
    if (first.ready === undefined) throw Object.assign(new Error(first.message), { code: first.failed })
    mount.pid = first.ready
    this.#mounts.push(mount)
    return mount
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // With its last process the namespace goes, and all that was mounted in it.
    for (const mount of this.#mounts) await mount.destroy()
    this.#holder.kill('SIGKILL')
    await rm(this.folder, { recursive: true, force: true })
  }
}

export interface Counts {
  readonly stats: StatsSnapshot
  /** What the kernel holds, over all inodes. */
  readonly references: number
}

/** A line of mount-child.ts. */
interface ChildMessage extends Partial<Counts> {
  /** The process that serves. */
  readonly ready?: number
  readonly end?: MountEnd
  /** The code of a StoreError, with its message. */
  readonly failed?: string
  readonly message?: string
}

/** A mount that is served by a child process. */
export class ChildMount {
  readonly target: string
  /** Of the process that serves. */
  pid = 0
  /** When that process ended: its status. */
  readonly ended: Promise<number | null>
  readonly #child: ChildProcessByStdio<null, Readable, null>
  readonly #lines: AsyncIterator<string>

  constructor(child: ChildProcessByStdio<null, Readable, null>, target: string) {
    this.target = target
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    this.ended = once(child, 'exit').then(([status]) => status as number | null)
  }

  /** The next line that the child prints. */
  async message(): Promise<ChildMessage> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the mounting process ended without a word')
    return JSON.parse(value) as ChildMessage
  }

  kill(signal: NodeJS.Signals): void {
    signalIfAlive(this.pid, signal)
  }

  async counts(): Promise<Counts> {
    this.kill('SIGUSR2')
    return (await this.message()) as Counts
  }

  async stop(): Promise<void> {
    this.kill('SIGTERM')
    await this.ended
  }

  /** Ends the process if it is still there. */
  async destroy(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.kill('SIGKILL')
    await this.ended
  }
}

/** A process may end by itself at the very moment when it is to be ended. */
export function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ESRCH') throw error
  }
}
