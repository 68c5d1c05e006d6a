import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { TVIX_STORE, until } from '../cli.ts'
import { type MountNamespace, signalIfAlive } from '../mount.ts'
import { isStats, type StoreStats } from '../store-mount.ts'
import { VIRTIOFSD_C } from './machine.ts'

/** A process that serves guests over sockets. */
export class DeviceProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #ended: Promise<number | null>

  private constructor(child: ChildProcess) {
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      if (stream) createInterface({ input: stream }).on('line', (line) => this.#lines.push(line))
    this.#ended = new Promise((resolve) => child.once('close', resolve))
  }

  /** `tvix-store virtiofs` as a user runs it. */
  static async ours(sockets: readonly string[], flags: readonly string[]): Promise<DeviceProcess> {
    const args = ['virtiofs', '--stats=json', ...flags, ...sockets]
    const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const device = await DeviceProcess.#started(child, sockets)
    await until(() => device.log.includes('waiting for guests') || child.exitCode !== null)
    return device
  }

  /** `tvix-store virtiofs` with a tree of test/posix/sample.ts. */
  static async sample(sockets: readonly string[]): Promise<DeviceProcess> {
    const args = [join(import.meta.dirname, 'virtiofs-child.ts'), ...sockets]
    return await DeviceProcess.#started(
      spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }),
      sockets,
    )
  }

  /** Debian's virtiofsd, for what is mounted at `source` in a namespace; as docs/virtual-machines.md has it. */
  static async virtiofsd(namespace: MountNamespace, source: string, socket: string): Promise<DeviceProcess> {
    const options = ['cache=always', 'readdirplus', 'xattr', 'sandbox=chroot', `source=${source}`]
    const child = namespace.spawn(VIRTIOFSD_C!, `--socket-path=${socket}`, '-o', options.join(','))
    return await DeviceProcess.#started(child, [socket])
  }

  static async #started(child: ChildProcess, sockets: readonly string[]): Promise<DeviceProcess> {
    const device = new DeviceProcess(child)
    await until(() => sockets.every((path) => existsSync(path)) || child.exitCode !== null)
    if (child.exitCode !== null) throw new Error(`no guests are served:\n${device.log}`)
    return device
  }

  get pid(): number {
    return this.#child.pid!
  }

  /** Everything it printed so far but the counters. */
  get log(): string {
    return this.#lines.filter((line) => !isStats(line)).join('\n')
  }

  async stats(): Promise<StoreStats> {
    const known = this.#lines.filter(isStats).length
    signalIfAlive(this.pid, 'SIGUSR1')
    await until(() => this.#lines.filter(isStats).length > known)
    return JSON.parse(this.#lines.findLast(isStats)!)
  }

  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) signalIfAlive(this.pid, 'SIGTERM')
    return await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}
