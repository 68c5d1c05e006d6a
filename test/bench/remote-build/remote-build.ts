/**
 * A C project is built on one host with the toolchain of another, over a link that is long: from a lazy mount, after copying
 * everything first, and from local disk. Each build runs in a sandbox that sees the toolchain's closure and nothing else.
 */
import { createHash } from 'node:crypto'
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { StorePath } from '../../../src/model/nix/store-path.ts'
import type { MountStats } from '../../../src/mount/tree/stats.ts'
import { localStoreFlags, TVIX_STORE } from '../../support/cli.ts'
import { connectHosts, type Distance, Host, type Server } from './host.ts'
import { layOut, layOutEnvironment, type Package, toolchainPackages } from './toolchain.ts'

const ROOT = join(import.meta.dirname, '../../..')
/** C sources that every checkout has: LMDB and LZ4, which the npm package `lmdb` carries. */
const SOURCES = ['lmdb-data-v1/libraries/liblmdb', 'lz4/lib'].map((path) =>
  join(ROOT, 'node_modules/lmdb/dependencies', path),
)
const DAEMON_PORT = 8001

const DISTANCE: Distance = { roundTripMs: 20, bytesPerSecond: 125_000_000 }

export interface Build {
  /** Seconds from the beginning, whatever that is, to the first object file, and to the end. */
  readonly firstOutput: number
  readonly total: number
  /** That came over the link, with all that the protocols add. */
  readonly bytes: number
  /** SHA-256 of each object file and program, by name. */
  readonly outputs: Readonly<Record<string, string>>
  readonly stats?: { readonly store: MountStats } | undefined
}

export interface RemoteBuild {
  readonly packages: number
  readonly closureBytes: number
  readonly link: string
  /** Of copying alone, in seconds. */
  readonly copying: number
  readonly local: Build
  readonly copied: Build
  readonly remote: Build
  readonly recorded: Build
  readonly profiled: Build
}

/** Resolves when all builds are done; `tell` hears of what is going on. Needs root. */
export async function remoteBuild(tell: (line: string) => void, distance = DISTANCE): Promise<RemoteBuild> {
  const work = await mkdtemp(join(tmpdir(), 'tvix-store-remote-build-'))
  try {
    await using far = await Host.start()
    await using near = await Host.start()
    tell('putting the toolchain of this machine into a store')
    const closure = await storeToolchain(far, work)
    tell(`${closure.packages} packages, ${megabytes(closure.bytes)}`)
    const daemon = [
      'daemon',
      '--listen-address',
      `127.0.0.1:${DAEMON_PORT}`,
      ...localStoreFlags(join(work, 'far')),
    ]
    await far.serve(TVIX_STORE, daemon, 'starting daemon')
    const { address, by } = await connectHosts(near, far, DAEMON_PORT, distance)
    const builder = new Builder(near, work, closure, `grpc+http://${address}`)
    tell('building from local disk')
    const local = await builder.local()
    tell('copying the closure, then building')
    const { build: copied, copying } = await builder.copied()
    tell('building from the mount')
    const remote = await builder.mounted('remote')
    const profile = join(work, 'profile')
    tell('building from the mount, recording what is touched')
    const recorded = await builder.mounted('recorded', '--record', profile)
    tell('building from the mount with that profile')
    const profiled = await builder.mounted('profiled', '--prefetch', profile)
    return {
      packages: closure.packages,
      closureBytes: closure.bytes,
      link: `${distance.roundTripMs} ms, ${(distance.bytesPerSecond * 8) / 1e9} Gbit/s, made by ${by === 'kernel' ? 'the kernel' : 'a proxy'}`,
      copying,
      local,
      copied,
      remote,
      recorded,
      profiled,
    }
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

interface Closure {
  readonly environment: StorePath
  readonly packages: number
  /** Of all NARs. */
  readonly bytes: number
  /** A folder with all of the store paths in it. */
  readonly folder: string
}

interface Imported {
  readonly path: string
  readonly storePath: string
  readonly narHash: string
  readonly narSize: number
}

async function storeToolchain(host: Host, work: string): Promise<Closure> {
  const [trees, root] = [join(work, 'trees'), join(work, 'root')]
  const folder = join(root, 'nix/store')
  mkdirSync(folder, { recursive: true })
  mkdirSync(join(work, 'far'))
  const packages = toolchainPackages()
  for (const each of packages) layOut(each, join(trees, each.name))
  // They are told in the order in which they were stored.
  const importTrees = async (paths: readonly string[]): Promise<Map<string, Imported>> => {
    const command = ['import', '--json', ...localStoreFlags(join(work, 'far')), ...paths]
    const lines = (await host.run(TVIX_STORE, command)).filter((line) => line.startsWith('{'))
    return new Map(lines.map((line) => JSON.parse(line) as Imported).map((each) => [each.path, each]))
  }
  const imported = await importTrees(packages.map(({ name }) => join(trees, name)))
  const storePaths = new Map<Package, string>()
  for (const each of packages) {
    const { storePath } = imported.get(join(trees, each.name))!
    storePaths.set(each, storePath)
    renameSync(join(trees, each.name), join(folder, basename(storePath)))
  }
  const tree = join(trees, 'build-environment')
  layOutEnvironment(storePaths, tree)
  const environment = (await importTrees([tree])).get(tree)!
  // What was imported refers to nothing. As a builder would have made it, the environment refers to all packages.
  const digest = createHash('sha256').update(environment.narHash).digest().subarray(0, 20)
  const path = StorePath.fromParts(digest, 'build-environment')
  renameSync(tree, join(folder, path.toString()))
  const graph = [...imported.values()].map(({ storePath, narHash, narSize }) => ({
    path: storePath,
    narHash,
    narSize,
  }))
  const references = graph.map((each) => each.path)
  const { narHash, narSize } = environment
  const file = join(work, 'graph.json')
  writeFileSync(file, JSON.stringify([...graph, { path: path.absolutePath, narHash, narSize, references }]))
  await host.run(TVIX_STORE, ['copy', '--root', root, ...localStoreFlags(join(work, 'far')), file])
  const bytes = graph.reduce((sum, each) => sum + each.narSize, narSize)
  return { environment: path, packages: packages.length, bytes, folder }
}

class Builder {
  readonly #host: Host
  readonly #work: string
  readonly #closure: Closure
  readonly #far: string

  constructor(host: Host, work: string, closure: Closure, far: string) {
    this.#host = host
    this.#work = work
    this.#closure = closure
    this.#far = far
  }

  local(): Promise<Build> {
    return this.#measured('local', async () => ({ store: this.#closure.folder }))
  }

  async copied(): Promise<{ readonly build: Build; readonly copying: number }> {
    let copying = 0
    const build = await this.#measured('copied', async (began) => {
      const folder = join(this.#work, 'near')
      mkdirSync(folder)
      const flags = localStoreFlags(folder)
      const what = this.#closure.environment.absolutePath
      await this.#host.run(TVIX_STORE, ['copy', '--from', this.#far, ...flags, what])
      copying = (performance.now() - began) / 1000
      return await this.#mount('copied', flags)
    })
    return { build, copying }
  }

  mounted(name: string, ...flags: readonly string[]): Promise<Build> {
    const addresses = ['blob', 'directory', 'path-info'].map((kind) => `--${kind}-service-addr=${this.#far}`)
    return this.#measured(name, () => this.#mount(name, [...addresses, ...flags]))
  }

  async #mount(name: string, flags: readonly string[]): Promise<{ store: string; server: Server }> {
    const store = join(this.#work, `${name}-store`)
    mkdirSync(store)
    const closure = ['--closure-of', this.#closure.environment.absolutePath]
    const args = ['mount', '--stats=json', ...closure, ...flags, store]
    return { store, server: await this.#host.serve(TVIX_STORE, args, ' mounted ') }
  }

  async #measured(
    name: string,
    prepare: (began: number) => Promise<{ store: string; server?: Server }>,
  ): Promise<Build> {
    const sandbox = this.#sandbox(name)
    const before = this.#host.receivedBytes
    const began = performance.now()
    const { store, server } = await prepare(began)
    let firstOutput = 0
    await this.#host.run('unshare', insideOf(sandbox, store), (line) => {
      if (line.startsWith('CC ')) firstOutput ||= (performance.now() - began) / 1000
    })
    const total = (performance.now() - began) / 1000
    const bytes = this.#host.receivedBytes - before
    await server?.stop()
    const stats = server?.lines.findLast((line) => line.startsWith('{"kernel"'))
    return {
      firstOutput,
      total,
      bytes,
      outputs: outputsOf(join(sandbox, 'build')),
      stats: stats && JSON.parse(stats),
    }
  }

  /** A root directory with nothing in it but the project, and where the toolchain will be. */
  #sandbox(name: string): string {
    const sandbox = join(this.#work, `${name}-sandbox`)
    for (const folder of ['nix/store', 'build', 'tmp', 'dev'])
      mkdirSync(join(sandbox, folder), { recursive: true })
    writeFileSync(join(sandbox, 'dev/null'), '')
    const environment = this.#closure.environment.absolutePath
    for (const folder of ['usr', 'etc']) symlinkSync(`${environment}/${folder}`, join(sandbox, folder))
    for (const folder of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${folder}`, join(sandbox, folder))
    writeProject(join(sandbox, 'build'))
    return sandbox
  }
}

/** The arguments of unshare(1) that build in a sandbox: mounts, processes and a network of its own, with nobody in it. */
function insideOf(sandbox: string, store: string): string[] {
  const script = `
set -eu
mount --bind "$1" "$2/nix/store"
mount --bind /dev/null "$2/dev/null"
exec chroot "$2" /usr/bin/env -i PATH=/usr/bin make --no-print-directory -C /build -j2`
  return [
    '--mount',
    '--net',
    '--pid',
    '--fork',
    '--propagation',
    'private',
    'sh',
    '-c',
    script,
    'sh',
    store,
    sandbox,
  ]
}

function writeProject(folder: string): void {
  const sources: string[] = []
  for (const from of SOURCES)
    for (const name of readdirSync(from)) {
      if (!/\.[ch]$/.test(name)) continue
      copyFileSync(join(from, name), join(folder, name))
      if (name.endsWith('.c')) sources.push(name)
    }
  const objects = sources.map((name) => name.replace(/c$/, 'o'))
  const library = objects.filter((name) => /^(mdb|midl|lz4.*|xxhash)\.o$/.test(name)).join(' ')
  const programs = ['mdb_stat', 'mdb_copy', 'mtest']
  writeFileSync(
    join(folder, 'Makefile'),
    `# It would look for its parts beside where the symlink to it leads.
CC = gcc -no-canonical-prefixes
all: ${objects.join(' ')} libproject.so ${programs.join(' ')}
%.o: %.c
\t@$(CC) -O1 -fPIC -pthread -w -c $< -o $@ && echo CC $@
libproject.so: ${library}
\t@$(CC) -shared -pthread -o $@ $^ && echo LD $@
${programs.map((name) => `${name}: ${name}.o mdb.o midl.o\n\t@$(CC) -pthread -o $@ $^ && echo LD $@\n`).join('')}`,
  )
}

function outputsOf(folder: string): Record<string, string> {
  const built = readdirSync(folder).filter((name) => !/\.[ch]$|^Makefile$/.test(name))
  const hash = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex')
  return Object.fromEntries(built.sort().map((name) => [name, hash(name)]))
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}
