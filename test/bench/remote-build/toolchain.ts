/** The compiler of this machine as store paths: one for each Debian package, and one that puts them together. */
import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  type Stats,
  symlinkSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** What a package has, by its full path on this machine. */
export interface Package {
  /** Name and version, as a store path is called. */
  readonly name: string
  readonly files: ReadonlyMap<string, Stats>
}

/** What every Debian package may take for granted, as far as building needs it. */
const ESSENTIAL = ['bash', 'coreutils', 'dash', 'findutils', 'grep', 'gzip', 'sed', 'tar']
const ALTERNATIVES = '/etc/alternatives'

/** The packages that `build-essential` needs, itself included, in the order of their names. Throws where there is no dpkg. */
export function toolchainPackages(): Package[] {
  const installed = readInstalled()
  const found = new Map<string, string>()
  const add = (name: string): void => {
    const known = installed.get(name)
    if (!known || found.has(known.name)) return
    found.set(known.name, known.version)
    for (const needed of known.needs) {
      const chosen = needed.find((each) => installed.has(each))
      if (chosen) add(chosen)
    }
  }
  for (const name of ['build-essential', 'gcc', 'make', 'libc6-dev', ...ESSENTIAL]) add(name)
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, version]) => ({ name: storeName(name, version), files: filesOf(name) }))
}

interface Installed {
  readonly name: string
  readonly version: string
  /** Of each of these, one. */
  readonly needs: readonly (readonly string[])[]
}

/** By name, and by what they provide. */
function readInstalled(): Map<string, Installed> {
  const fields = ['db:Status-Status', 'Package', 'Version', 'Pre-Depends', 'Depends', 'Provides']
  const format = `${fields.map((field) => `\${${field}}`).join('\\t')}\\n`
  const listed = execFileSync('dpkg-query', ['-W', `-f=${format}`], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  const installed = new Map<string, Installed>()
  const provided = new Map<string, Installed>()
  for (const line of listed.split('\n')) {
    const [status, name = '', version = '', before, after, provides = ''] = line.split('\t')
    if (status !== 'installed') continue
    const known = {
      name,
      version,
      needs: `${before}, ${after}`.split(',').map((each) => each.split('|').map(bareName)),
    }
    installed.set(name, known)
    for (const each of provides.split(',')) provided.set(bareName(each), known)
  }
  return new Map([...provided, ...installed])
}

function bareName(relation: string): string {
  return relation
    .replace(/\(.*?\)/g, '')
    .replace(/:\w+/g, '')
    .trim()
}

function storeName(name: string, version: string): string {
  return `${name}-${version.replace(/^\d+:/, '')}`.replace(/[^0-9A-Za-z+\-._?=]/g, '-')
}

function filesOf(name: string): Map<string, Stats> {
  const listed = execFileSync('dpkg-query', ['-L', name], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  const files = new Map<string, Stats>()
  for (const line of listed.split('\n')) {
    const stats = line.startsWith('/') ? lstatSync(line, { throwIfNoEntry: false }) : undefined
    // /lib is a symlink to /usr/lib today, and packages may still name the former.
    if (stats?.isFile() || stats?.isSymbolicLink())
      files.set(join(realFolder(dirname(line)), line.slice(line.lastIndexOf('/'))), stats)
  }
  return files
}

const realFolders = new Map<string, string>()

function realFolder(folder: string): string {
  const known = realFolders.get(folder) ?? realpathSync(folder)
  realFolders.set(folder, known)
  return known
}

/** Lays a package out below `target`. */
export function layOut({ files }: Package, target: string): void {
  mkdirSync(target, { recursive: true })
  for (const [path, stats] of files) {
    const copy = join(target, path)
    mkdirSync(dirname(copy), { recursive: true })
    if (stats.isSymbolicLink()) symlinkSync(readlinkSync(path), copy)
    else hardLinkOrCopy(path, copy)
  }
}

function hardLinkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch {
    copyFileSync(from, to)
  }
}

/**
 * Lays out below `target` what a root directory needs: every file of the packages as a symlink into their store paths, as Nix
 * makes environments. Symlinks of the packages stay what they are: where they lead is there, too.
 */
export function layOutEnvironment(packages: ReadonlyMap<Package, string>, target: string): void {
  const taken = new Set<string>()
  const put = (path: string, leadsTo: string) => {
    if (taken.has(path)) return
    taken.add(path)
    mkdirSync(dirname(join(target, path)), { recursive: true })
    symlinkSync(leadsTo, join(target, path))
  }
  for (const [{ files }, storePath] of packages)
    for (const [path, stats] of files)
      put(path, stats.isSymbolicLink() ? readlinkSync(path) : join(storePath, path))
  for (const entry of readdirSync(ALTERNATIVES, { withFileTypes: true })) {
    const path = join(ALTERNATIVES, entry.name)
    if (entry.isSymbolicLink() && taken.has(readlinkSync(path))) put(path, readlinkSync(path))
  }
}
