import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

/** In tests what was built for them, elsewhere the sources of this checkout. */
export const TVIX_STORE =
  process.env['TVIX_STORE_TEST_PROGRAM'] ?? join(import.meta.dirname, '../../scripts/tvix-store')

/** Flags of Node for the program: its first line has them. */
export function nodeFlags(): string[] {
  const program = readFileSync(join(import.meta.dirname, '../../src/cli/main.ts'), 'utf8')
  const [, flags] = /^#!\/usr\/bin\/env -S node (--.*)/.exec(program) ?? []
  if (!flags) throw new Error('the first line of src/cli/main.ts has no flags of Node')
  return flags.split(' ')
}

/** A run of a program ends after this long at the latest, so that a hang is a failure and not a stuck suite. */
const RUN_MS_MAX = 580_000

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program to its end; a failure is a result, not an exception. */
export function run(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<RunResult> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, ...env }, maxBuffer: 64 * 1024 * 1024, timeout: RUN_MS_MAX }
    execFile(command, args, options, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0
      resolve({ code, stdout, stderr })
    })
  })
}

/** Runs a program that must succeed; its standard output. */
export async function runOk(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, env)
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stderr}`)
  return stdout
}

/** Imports what is at `path`: its store path. */
export async function importedPath(
  flags: readonly string[],
  path: string,
  env: Record<string, string> = {},
): Promise<string> {
  return (await runOk(TVIX_STORE, ['import', ...flags, path], env)).trim()
}

/** Likewise: what it is called at the root of a mount. */
export async function importedName(...args: Parameters<typeof importedPath>): Promise<string> {
  return basename(await importedPath(...args))
}

/** Where a store of this machine keeps its blobs, below a folder: chunks in files of their own, in packs, or raw blobs. */
const LOCAL_BLOBS = {
  files: (folder: string) => `objectstore+file://${folder}/blobs.object_store`,
  packs: (folder: string) => `packs://${folder}/blobs.packs`,
  raw: (folder: string) => `files://${folder}/blobs.raw`,
}
export type LocalBlobs = keyof typeof LOCAL_BLOBS
export const ALL_LOCAL_BLOBS = Object.keys(LOCAL_BLOBS) as LocalBlobs[]

/** The three address flags for stores below a folder; directories and path infos are in LMDB. */
export function localStoreFlags(folder: string, blobs: LocalBlobs = 'files'): string[] {
  return addressFlags(
    LOCAL_BLOBS[blobs](folder),
    `lmdb://${folder}/directories.lmdb`,
    `lmdb://${folder}/pathinfo.lmdb`,
  )
}

/** The three address flags that name one gRPC endpoint. */
export function remoteStoreFlags(address: string): string[] {
  return addressFlags(address, address, address)
}

function addressFlags(blobs: string, directories: string, pathInfos: string): string[] {
  return [
    `--blob-service-addr=${blobs}`,
    `--directory-service-addr=${directories}`,
    `--path-info-service-addr=${pathInfos}`,
  ]
}

export interface Daemon extends AsyncDisposable {
  readonly pid: number
  /** `grpc+unix:` address. */
  readonly address: string
  /** What it wrote to standard error so far. */
  readonly log: () => string
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

/** A daemon over a store below `folder`, listening on a unix socket there. */
export async function startDaemon(folder: string, ...flags: string[]): Promise<Daemon> {
  const socket = join(folder, 'daemon.socket')
  const args = ['daemon', '--listen-address', socket, ...localStoreFlags(folder), ...flags]
  const child = spawn(TVIX_STORE, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  const exited = once(child, 'exit') as Promise<[number | null]>
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    const [code] = await exited
    return code
  }
  await until(() => log.includes('starting daemon') || child.exitCode !== null)
  if (child.exitCode !== null || !existsSync(socket)) throw new Error(`the daemon did not start:\n${log}`)
  return {
    pid: child.pid!,
    address: `grpc+unix://${socket}`,
    log: () => log,
    stop,
    async [Symbol.asyncDispose]() {
      await stop()
    },
  }
}

/** Polls until `condition` holds; fails loudly when it does not within `ms`. */
export async function until(condition: () => boolean | Promise<boolean>, ms = 20_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not so within ${ms} ms: ${condition}`)
    await wait(10)
  }
}
