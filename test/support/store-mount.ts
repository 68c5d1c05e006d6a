import { createInterface } from 'node:readline'
import type { FillCounts } from '../../src/mount/fuse/stats.ts'
import type { FetchStats, MountStats } from '../../src/mount/tree/stats.ts'
import { TVIX_STORE, until } from './cli.ts'
import { type MountNamespace, type Outcome, signalIfAlive } from './mount.ts'

export interface StoreStats {
  readonly kernel: {
    readonly requests: Record<string, number>
    readonly bytesRead: number
    readonly filled: FillCounts
  }
  readonly store: Record<keyof MountStats, FetchStats>
}

/** `tvix-store mount` as a user runs it, inside a namespace of the test's own. */
export class StoreMount implements AsyncDisposable {
  readonly target: string
  readonly ended: Promise<number | null>
  readonly #lines: string[] = []
  #exitCode: number | null | undefined

  private constructor(namespace: MountNamespace, target: string, command: readonly string[]) {
    this.target = target
    // `timeout` and `nsenter` stand in between, so the shell tells the number of the process that serves.
    const script = 'echo $$; exec "$0" "$@" 2>&1'
    const child = namespace.spawn('sh', '-c', script, ...command)
    createInterface({ input: child.stdout }).on('line', (line) => this.#lines.push(line))
    this.ended = new Promise((resolve) => child.once('close', resolve))
    this.ended.then((code) => {
      this.#exitCode = code
    })
  }

  /** Resolves when the mount answers; rejects with what the command said when it ended instead. */
  static async start(
    namespace: MountNamespace,
    target: string,
    flags: readonly string[],
    command: readonly string[] = ['mount'],
  ): Promise<StoreMount> {
    const args = [...command, '--stats=json', ...flags, target]
    return await StoreMount.startAs(namespace, target, [TVIX_STORE, ...args])
  }

  /** By a command line of any kind. */
  static async startAs(
    namespace: MountNamespace,
    target: string,
    command: readonly string[],
  ): Promise<StoreMount> {
    const mount = new StoreMount(namespace, target, command)
    await until(() => mount.log.includes(' mounted ') || mount.#exitCode !== undefined)
    if (mount.#exitCode !== undefined) throw new Error(mount.log)
    return mount
  }

  /** Runs it to its end, for mounts that must not come up. */
  static async refused(
    namespace: MountNamespace,
    target: string,
    flags: readonly string[],
  ): Promise<Outcome> {
    return await namespace.run(TVIX_STORE, 'mount', ...flags, target)
  }

  get pid(): number {
    return Number(this.#lines[0])
  }

  /** Everything it printed so far but the counters. */
  get log(): string {
    return this.#lines
      .slice(1)
      .filter((line) => !isStats(line))
      .join('\n')
  }

  kill(signal: NodeJS.Signals): void {
    signalIfAlive(this.pid, signal)
  }

  async stats(): Promise<StoreStats> {
    const known = this.#lines.filter(isStats).length
    this.kill('SIGUSR1')
    await until(() => this.#lines.filter(isStats).length > known)
    return JSON.parse(this.#lines.findLast(isStats)!)
  }

  /** Ends it with a signal and tells its exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.#exitCode === undefined) this.kill(signal)
    return await this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exitCode === undefined) await this.stop('SIGKILL')
  }
}

export function isStats(line: string): boolean {
  return line.startsWith('{"kernel"')
}
