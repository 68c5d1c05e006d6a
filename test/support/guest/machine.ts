/**
 * A virtual machine for tests: Debian's kernel and this machine's programs, emulated in software, so that it runs where
 * there is no KVM. It has no disk and no network; its root is in memory, /usr is the host's, read-only.
 */
import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { TEST_CACHE } from '../caches.ts'
import { until } from '../cli.ts'
import type { Outcome } from '../mount.ts'
import { hasProgram, IS_ROOT } from '../requirements.ts'
import {
  type ArchiveEntry,
  archiveDirectory,
  archiveFile,
  archiveLink,
  moduleDependencies,
  packArchive,
} from './initramfs.ts'

const CACHE = join(TEST_CACHE, 'guest')
const VIRTIOFSD = '/usr/lib/qemu/virtiofsd'
/** What a guest may take all in all; then it is killed, whatever the test does. */
const LIFETIME_SECONDS = 900
const BOOT_MS_MAX = 120_000
/** What one program in the guest may take. */
const PROGRAM_SECONDS = 240

const MODULES = ['virtio_pci', 'virtiofs', 'virtio_console', '9p', '9pnet_virtio']

/** Why no guest can be booted here, or undefined. */
export function whyNoGuests(): string | undefined {
  if (process.arch !== 'x64') return 'not x86-64'
  if (!IS_ROOT) return 'not root'
  for (const program of ['qemu-system-x86_64', 'apt-get', 'dpkg', 'timeout'])
    if (!hasProgram(program)) return `no program ${program}`
  return existsSync('/usr/bin/python3') ? undefined : 'no /usr/bin/python3'
}

/** Debian's virtiofsd (the one in C, of the package qemu-system-common), if it is there. */
export const VIRTIOFSD_C = existsSync(VIRTIOFSD) ? VIRTIOFSD : undefined

/** Guests that boot at the same time have a first root each. */
let roots = 0

interface GuestFiles {
  readonly kernel: string
  readonly initramfs: string
}

/** Downloads and unpacks the kernel once, and puts together the first root. */
async function guestFiles(programs: Readonly<Record<string, string>> = {}): Promise<GuestFiles> {
  const kernelPackage = await currentKernelPackage()
  const root = await unpacked(kernelPackage)
  const version = kernelPackage.replace('linux-image-', '')
  const busybox = readFileSync(join(await unpacked('busybox-static'), 'bin/busybox'))
  const initramfs = join(CACHE, `initramfs-${process.pid}-${roots++}`)
  const entries = initialRoot(join(root, 'lib/modules', version, 'kernel'), busybox)
  for (const [name, path] of Object.entries(programs))
    entries.push(archiveFile(name, readFileSync(path), true))
  writeFileSync(initramfs, packArchive(entries))
  return { kernel: join(root, 'boot', `vmlinuz-${version}`), initramfs }
}

async function currentKernelPackage(): Promise<string> {
  const { stdout } = await promisify(execFile)('apt-cache', ['depends', 'linux-image-amd64'])
  const name = /Depends: (linux-image-[0-9][^\s]*)/.exec(stdout)?.[1]
  if (!name) throw new Error('apt-cache knows no linux-image-amd64; run apt-get update')
  return name
}

/** The folder with what is in a Debian package; nothing is installed. */
async function unpacked(name: string): Promise<string> {
  const folder = join(CACHE, name)
  if (existsSync(folder)) return folder
  const work = `${folder}.${process.pid}`
  mkdirSync(join(work, 'root'), { recursive: true })
  const download = () => promisify(execFile)('apt-get', ['download', '-qq', name], { cwd: work })
  // The lists of packages may be older than what the server still has.
  await download().catch(async () => {
    await promisify(execFile)('apt-get', ['update', '-qq'])
    await download()
  })
  const archive = readdirSync(work).find((file) => file.endsWith('.deb'))!
  await promisify(execFile)('dpkg', ['-x', join(work, archive), join(work, 'root')])
  try {
    renameSync(join(work, 'root'), folder)
  } catch (error) {
    if (!existsSync(folder)) throw error // another process was faster
  }
  rmSync(work, { recursive: true })
  return folder
}

function initialRoot(modules: string, busybox: Uint8Array): ArchiveEntry[] {
  const paths = new Map<string, string>()
  for (const entry of readdirSync(modules, { recursive: true, encoding: 'utf8' }))
    if (entry.endsWith('.ko')) paths.set(moduleName(entry), join(modules, entry))
  const order: string[] = []
  const load = (name: string) => {
    const path = paths.get(name)
    if (!path || order.includes(name)) return // without a file it is built in
    for (const needed of moduleDependencies(path)) load(moduleName(needed))
    order.push(name)
  }
  for (const name of MODULES) load(name)
  const file = (name: string) => readFileSync(join(import.meta.dirname, name))
  return [
    ...['proc', 'sys', 'dev', 'usr', 'tmp', 'etc', 'mnt', 'modules', 'nix', 'nix/store'].map(
      archiveDirectory,
    ),
    ...['bin', 'sbin', 'lib', 'lib64'].map((name) => archiveLink(name, `usr/${name}`)),
    archiveFile('busybox', busybox, true),
    archiveFile('init', file('init.sh'), true),
    archiveFile('agent.py', file('agent.py')),
    archiveFile('modules/order', order.map((name) => `${name}\n`).join('')),
    ...order.map((name) => archiveFile(`modules/${name}.ko`, readFileSync(paths.get(name)!))),
  ]
}

function moduleName(path: string): string {
  return path.replace(/^.*\//, '').replace(/\.ko$/, '').replaceAll('-', '_')
}

export interface GuestOptions {
  /** Folder for sockets and logs of this guest; it exists. */
  readonly folder: string
  /** Filesystems: the tag, and the socket of the device process, which listens. */
  readonly shares: Readonly<Record<string, string>>
  readonly memoryMiB?: number
  readonly cpus?: number
  readonly queueSize?: number
  /** Statically linked programs: their names in the root of the guest, and where they are. */
  readonly programs?: Readonly<Record<string, string>>
}

/** A running guest. Programs run one after the other. */
export class Guest implements AsyncDisposable {
  readonly release: string
  /** When QEMU ended: its status. */
  readonly ended: Promise<number | null>
  readonly pid: number
  readonly #socket: Socket
  readonly #waiting: Map<number, PromiseWithResolvers<Outcome>>
  readonly #consolePath: string
  #next = 0

  private constructor(parts: {
    release: string
    ended: Promise<number | null>
    pid: number
    socket: Socket
    waiting: Map<number, PromiseWithResolvers<Outcome>>
    consolePath: string
  }) {
    this.release = parts.release
    this.ended = parts.ended
    this.pid = parts.pid
    this.#socket = parts.socket
    this.#waiting = parts.waiting
    this.#consolePath = parts.consolePath
  }

  /** Boots; rejects with the end of the console when that fails. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const files = await guestFiles(options.programs)
    const agent = join(options.folder, 'agent.socket')
    const consolePath = join(options.folder, 'console.log')
    rmSync(agent, { force: true })
    const command = ['-s', 'KILL', String(LIFETIME_SECONDS), 'qemu-system-x86_64']
    const args = [...command, ...machineArguments(options, files), ...agentArguments(agent, consolePath)]
    const child = spawn('timeout', args, { stdio: ['ignore', 'ignore', 'pipe'], cwd: '/' })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const waiting = new Map<number, PromiseWithResolvers<Outcome>>()
    const fail = () => new Error(`the guest ended:\n${said}${tail(consolePath)}`)
    void ended.then(() => {
      for (const { reject } of waiting.values()) reject(fail())
    })
    try {
      let socket: Socket | undefined
      await until(async () => {
        socket = await connected(agent)
        return socket !== undefined || child.exitCode !== null
      })
      if (!socket) throw fail()
      const ready = Promise.withResolvers<string>()
      createInterface({ input: socket })
        .on('error', () => {}) // its end is told by `ended`
        .on('line', (line) => {
          const message = JSON.parse(line) as { ready?: string; id: number } & Outcome
          if (message.ready !== undefined) return ready.resolve(message.ready)
          const { id, status, stdout, stderr } = message
          waiting.get(id)?.resolve({ status, stdout, stderr, signal: null })
          waiting.delete(id)
        })
      const late = setTimeout(() => ready.reject(fail()), BOOT_MS_MAX)
      const release = await Promise.race([ready.promise, ended.then(() => Promise.reject(fail()))])
      clearTimeout(late)
      return new Guest({ release, ended, pid: child.pid!, socket, waiting, consolePath })
    } catch (error) {
      child.kill('SIGTERM') // passed on to QEMU, which a SIGKILL of its watchdog would leave behind
      await ended
      throw error
    } finally {
      rmSync(files.initramfs, { force: true })
    }
  }

  /** Everything the kernel said. */
  get console(): string {
    return readFileSync(this.#consolePath, 'utf8')
  }

  run(program: string, ...args: string[]): Promise<Outcome> {
    return this.#order({ run: program, args })
  }

  /** Runs a program that must succeed; what it printed. */
  async runOk(program: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(program, ...args)
    if (status !== 0)
      throw new Error(`${program} ${args.join(' ')} failed (${status}) in the guest: ${stderr}`)
    return stdout
  }

  /** Runs a Python program, which prints JSON; throws when it fails. */
  async python(script: string, ...args: string[]): Promise<unknown> {
    const { status, stdout, stderr } = await this.#order({ python: script, args })
    if (status !== 0) throw new Error(`python failed (${status}) in the guest: ${stderr}`)
    return JSON.parse(stdout)
  }

  /** Mounts a share; `options` as of mount(8). */
  async mount(tag: string, target: string, options = 'ro'): Promise<void> {
    await this.runOk('mkdir', '-p', target)
    await this.runOk('mount', '-i', '-t', 'virtiofs', '-o', options, tag, target)
  }

  async #order(order: object): Promise<Outcome> {
    const id = this.#next++
    const outcome = Promise.withResolvers<Outcome>()
    this.#waiting.set(id, outcome)
    this.#socket.write(`${JSON.stringify({ id, seconds: PROGRAM_SECONDS, ...order })}\n`)
    return await outcome.promise
  }

  async halt(): Promise<void> {
    this.#socket.write(`${JSON.stringify({ halt: true })}\n`)
    await this.ended
  }

  /** Ends QEMU whatever it does; `timeout` passes the signal on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.destroy()
    try {
      process.kill(this.pid, 'SIGTERM')
    } catch {
      // it ended by itself
    }
    await this.ended
  }
}

const KERNEL_ARGUMENTS = 'console=ttyS0 panic=-1 quiet'

/** Boots a guest whose console is this terminal, with a shell in the share called `store`; until it ends. */
export async function runShellInGuest(options: GuestOptions): Promise<number | null> {
  const files = await guestFiles(options.programs)
  const console = ['-append', `${KERNEL_ARGUMENTS} -- shell`, '-serial', 'mon:stdio']
  const child = spawn('qemu-system-x86_64', [...machineArguments(options, files), ...console], {
    stdio: 'inherit',
  })
  const status = await new Promise<number | null>((resolve) => child.once('exit', resolve))
  rmSync(files.initramfs, { force: true })
  return status
}

function machineArguments(options: GuestOptions, { kernel, initramfs }: GuestFiles): string[] {
  const { memoryMiB = 512, cpus = 1, queueSize = 1024, shares } = options
  const filesystems = Object.entries(shares).flatMap(([tag, socket]) => [
    ...['-chardev', `socket,id=${tag},path=${socket}`],
    ...['-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag},queue-size=${queueSize}`],
  ])
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-accel', 'tcg', '-smp', String(cpus), '-m', `${memoryMiB}M`],
    ...[
      '-object',
      `memory-backend-memfd,id=memory,size=${memoryMiB}M,share=on`,
      '-numa',
      'node,memdev=memory',
    ],
    ...['-kernel', kernel, '-initrd', initramfs],
    ...['-fsdev', 'local,id=usr,path=/usr,security_model=none,readonly=on'],
    ...['-device', 'virtio-9p-pci,fsdev=usr,mount_tag=usr'],
    ...filesystems,
  ]
}

function agentArguments(agent: string, consolePath: string): string[] {
  return [
    ...['-append', KERNEL_ARGUMENTS, '-serial', `file:${consolePath}`, '-device', 'virtio-serial-pci'],
    ...['-chardev', `socket,id=agent,path=${agent},server=on,wait=off`],
    ...['-device', 'virtserialport,chardev=agent,name=agent'],
  ]
}

/** `undefined`: nobody listens there yet. */
function connected(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path)
    socket.once('connect', () => resolve(socket)).once('error', () => resolve(undefined))
  })
}

function tail(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(-20).join('\n') : ''
}
