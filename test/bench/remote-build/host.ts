import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** Nothing that a host runs may outlive this. */
const LIFETIME_SECONDS = 900

/** How far apart the hosts are. */
export interface Distance {
  /** There and back. */
  readonly roundTripMs: number
  readonly bytesPerSecond: number
}

/** A host: a network and mounts of its own. It is gone, with all of them, when its last process ends. */
export class Host implements AsyncDisposable {
  readonly #holder: ChildProcess
  readonly #children = new Set<ChildProcess>()

  private constructor(holder: ChildProcess) {
    this.#holder = holder
  }

  static async start(): Promise<Host> {
    const script = `ip link set lo up && echo ready && exec sleep ${LIFETIME_SECONDS}`
    const options = ['--net', '--mount', '--propagation', 'private']
    const holder = spawn('unshare', [...options, 'sh', '-c', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await Promise.race([once(holder.stdout!, 'data'), once(holder, 'exit')])
    if (holder.exitCode !== null) throw new Error('no network of its own can be made: unshare or ip failed')
    return new Host(holder)
  }

  get pid(): number {
    return this.#holder.pid!
  }

  /** What it received over its link so far. */
  get receivedBytes(): number {
    const line = /^ *link0: *(\d+)/m.exec(readFileSync(`/proc/${this.pid}/net/dev`, 'latin1'))
    return Number(line![1])
  }

  /** Goes on in the background; standard output and error come together, line by line. */
  spawn(program: string, args: readonly string[], onLine: (line: string) => void = () => {}): ChildProcess {
    const child = spawn('nsenter', [`--target=${this.pid}`, '--net', '--mount', '--', program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: '/',
    })
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', onLine)
    return child
  }

  /** Runs to its end; the lines that it wrote. Throws when it fails. */
  async run(
    program: string,
    args: readonly string[],
    onLine: (line: string) => void = () => {},
  ): Promise<string[]> {
    const lines: string[] = []
    const child = this.spawn(program, args, (line) => {
      lines.push(line)
      onLine(line)
    })
    const [code, signal] = await once(child, 'close')
    if (code === 0) return lines
    const said = lines.slice(-20).join('\n')
    throw new Error(`${program} ${args.join(' ').slice(0, 200)} ended with ${signal ?? code}:\n${said}`)
  }

  /** Starts a server and resolves when it says that it serves. */
  async serve(program: string, args: readonly string[], sign: string): Promise<Server> {
    const lines: string[] = []
    const serving = Promise.withResolvers<void>()
    const child = this.spawn(program, args, (line) => {
      lines.push(line)
      if (line.includes(sign)) serving.resolve()
    })
    const closed = once(child, 'close')
    const [outcome] = await Promise.race([serving.promise.then(() => ['serves']), closed])
    if (outcome !== 'serves')
      throw new Error(`${program} ${args[0]} did not start:\n${lines.slice(-20).join('\n')}`)
    return {
      lines,
      async stop() {
        child.kill('SIGTERM')
        await closed
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      child.kill('SIGTERM')
      await once(child, 'exit')
    }
    this.#holder.kill('SIGKILL')
  }
}

export interface Server {
  readonly lines: readonly string[]
  stop(): Promise<void>
}

const ADDRESSES = { near: '10.80.0.2', far: '10.80.0.1' } as const
const PORT = 8000

/**
 * Connects two hosts and says how `near` reaches what listens at 127.0.0.1:`targetPort` on `far`. The kernel shapes the link
 * where it can (netem), else a proxy does.
 */
export async function connectHosts(
  near: Host,
  far: Host,
  targetPort: number,
  { roundTripMs, bytesPerSecond }: Distance,
): Promise<{ readonly address: string; readonly by: 'kernel' | 'proxy' }> {
  const link = ['link', 'add', 'link0', 'netns', `${near.pid}`, 'type', 'veth']
  must('ip', [...link, 'peer', 'name', 'link0', 'netns', `${far.pid}`])
  for (const [host, address] of [
    [near, ADDRESSES.near],
    [far, ADDRESSES.far],
  ] as const) {
    await host.run('ip', ['addr', 'add', `${address}/24`, 'dev', 'link0'])
    await host.run('ip', ['link', 'set', 'link0', 'up'])
  }
  // A proxy in any case: the server listens on loopback, and both ways are then of the same length.
  const byKernel = await shapedByKernel([near, far], roundTripMs, bytesPerSecond)
  const proxy = join(import.meta.dirname, 'link-proxy.ts')
  const width = byKernel ? ['0', '1e12'] : [`${roundTripMs / 2}`, `${bytesPerSecond}`]
  await far.serve(process.execPath, [proxy, ADDRESSES.far, `${PORT}`, `${targetPort}`, ...width], 'ready')
  return { address: `${ADDRESSES.far}:${PORT}`, by: byKernel ? 'kernel' : 'proxy' }
}

async function shapedByKernel(hosts: readonly Host[], roundTripMs: number, bytesPerSecond: number) {
  const shape = ['delay', `${roundTripMs / 2}ms`, 'rate', `${bytesPerSecond * 8}bit`, 'limit', '100000']
  const shaped: Host[] = []
  try {
    for (const host of hosts) {
      await host.run('tc', ['qdisc', 'add', 'dev', 'link0', 'root', 'netem', ...shape])
      shaped.push(host)
    }
    return true
  } catch {
    // No netem in this kernel, or no tc. One direction must not be made long twice.
    for (const host of shaped) await host.run('tc', ['qdisc', 'del', 'dev', 'link0', 'root'])
    return false
  }
}

function must(program: string, args: readonly string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
}
