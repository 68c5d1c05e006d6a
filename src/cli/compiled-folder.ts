import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'

/** Builds whose code stays, this one among them: somebody may use two in turns. */
const BUILDS_KEPT = 3

/** As `buildFolder` names them. What else lies beside them is not ours to remove. */
const BUILD_FOLDER = /^[0-9a-f]{16}-v\d+\.\d+\.\d+$/

/**
 * Where code that was compiled stays for the next start, which it halves (XDG Base Directory Specification). Not in the
 * temp folder, as Node would by itself, nor in the working directory when there is no home: whoever can write there would choose
 * what runs here.
 */
export function compiledFolder(env: NodeJS.ProcessEnv): string | undefined {
  const { XDG_CACHE_HOME: cache, HOME: home } = env
  if (cache && isAbsolute(cache)) return join(cache, 'tvix-store/compiled')
  return home && isAbsolute(home) ? join(home, '.cache/tvix-store/compiled') : undefined
}

/**
 * The part of it that belongs to one build of the program and one version of Node, and is there now; `undefined` where it cannot be.
 * The first run of a build removes what builds of long ago left.
 */
export function buildFolder(folder: string, build: string, version: string): string | undefined {
  const name = `${build}-${version}`
  const own = join(folder, name)
  if (existsSync(own)) return own
  if (!createFolder(own)) return undefined
  for (const old of buildsByAge(folder)
    .filter((other) => other !== name)
    .slice(BUILDS_KEPT - 1))
    remove(join(folder, old))
  return own
}

/** Whether the folder is there now. Node by itself would look for one below /proc for ever (support/folders.ts). */
export function createFolder(path: string): boolean {
  if (existsSync(path)) return true
  if (!createFolder(dirname(path))) return false
  try {
    mkdirSync(path)
  } catch {
    // Another process was faster, or it cannot be.
  }
  return existsSync(path)
}

/** The one that was last written to comes first. */
function buildsByAge(folder: string): string[] {
  const builds = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && BUILD_FOLDER.test(entry.name))
    .map(({ name }) => ({
      name,
      writtenMs: statSync(join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0,
    }))
  return builds.sort((a, b) => b.writtenMs - a.writtenMs).map(({ name }) => name)
}

/** A process of that build finds nothing where it would write, and does without. */
function remove(folder: string): void {
  try {
    rmSync(folder, { recursive: true })
  } catch {
    // Another process does the same, or it may not be removed: the next build tries again.
  }
}
