/** What the Nix of this machine knows of its store. */
import { execFile } from 'node:child_process'
import { realpath } from 'node:fs/promises'
import { type PathMetadata, parseReferenceGraph } from '../model/nix/reference-graph.ts'
import { STORE_DIR, StorePath } from '../model/nix/store-path.ts'
import { utf8 } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { REFERENCE_GRAPH_BYTES_MAX } from '../support/limits.ts'
import { sourceError } from '../transfer/source.ts'

/** Nix would ask its substituters for a path that it does not have, which takes long and is of no use here. */
const NIX_SETTINGS = ['--extra-experimental-features', 'nix-command', '--option', 'substitute', 'false']

/** `root`: of the file system that the store belongs to, `/` for this machine's. */
export interface LocalNix {
  readonly root: string
}

/** The closures of paths, or everything there is. Throws what Nix says. */
export async function queryLocalNix(
  { root }: LocalNix,
  paths: readonly StorePath[] | 'all',
  call?: Call,
): Promise<PathMetadata[]> {
  const store = root === '/' ? [] : ['--store', `local?root=${root}`]
  const what = paths === 'all' ? ['--all'] : ['--recursive', ...paths.map((path) => path.absolutePath)]
  const printed = await runNix(['path-info', '--json', ...store, ...what], call)
  return parseReferenceGraph(JSON.parse(printed))
}

/** The store path of what a person points at: itself, something in it, or a symlink such as `./result`. */
export async function localStorePath(argument: string): Promise<StorePath> {
  if (argument.startsWith(`${STORE_DIR}/`)) return StorePath.fromAbsolutePathFull(argument).storePath
  const real = await realpath(argument).catch((error) => {
    throw sourceError('resolve', utf8(argument), error)
  })
  if (!real.startsWith(`${STORE_DIR}/`))
    throw new StoreError(
      'invalid-argument',
      `${argument} is not in ${STORE_DIR}; put it into a store with \`tvix-store import ${argument}\``,
    )
  return StorePath.fromAbsolutePathFull(real).storePath
}

function runNix(args: readonly string[], call: Call | undefined): Promise<string> {
  const options = { maxBuffer: REFERENCE_GRAPH_BYTES_MAX, signal: call?.signal }
  return new Promise((resolve, reject) => {
    execFile('nix', [...NIX_SETTINGS, ...args], options, (error, stdout, stderr) => {
      if (!error) resolve(stdout)
      else reject(nixError(error, stderr))
    })
  })
}

function nixError(error: Error, stderr: string): StoreError {
  if (systemCode(error) === 'ENOENT')
    return new StoreError(
      'not-found',
      'there is no nix on the PATH to ask for references; give a reference graph instead (tvix-store copy FILE)',
    )
  if (error.name === 'AbortError') return StoreError.from(error)
  const said =
    stderr
      .split('\n')
      .filter((line) => line.startsWith('error:'))
      .join(' ') || error.message
  return new StoreError('unavailable', `nix path-info: ${said}`, { cause: error })
}
