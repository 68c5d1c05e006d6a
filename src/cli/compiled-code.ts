import { subscribe } from 'node:diagnostics_channel'
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { constants, Script } from 'node:vm'

/** A file of the published program, and where to keep what V8 makes of its text. */
interface Loaded {
  readonly script: Script
  readonly path: string
  /** Runs that what is there was gathered in. */
  readonly runs: number
  /** What they told on `USES_CHANNEL`. */
  readonly uses: number
}

interface Kept {
  readonly code: Buffer
  readonly runs: number
  readonly uses: number
}

/**
 * One run does not use all that the next one will, and writing it down takes a process that ends as long as it saves later ones. A run
 * behind these adds what it used if it did what none of them did.
 */
const RUNS_GATHERED = 4

/**
 * Where a command tells what it did: 32 bits, of which only this command knows the meaning. This file and the commands are loaded apart,
 * and share no module.
 */
export const USES_CHANNEL = 'tvix-store:uses'

/** In the folder of a build: all commands have half as many. A first word that is no command would add more each time. */
const FILES_MAX = 500

/** What Node gives to a module of its own (CommonJS). */
type ModuleBody = (
  this: unknown,
  exports: unknown,
  require: (id: string) => unknown,
  module: NodeJS.Module,
  path: string,
  folder: string,
) => void

const HEAD = '(function (exports, require, module, __filename, __dirname) { '

/**
 * Loads the files of `program` with what was compiled of them when the same command ran before, all functions that it used.
 * Node's own cache has a file as it is before it runs: a start compiled 600 functions anew, one by one when they were first called,
 * and so did the first looks at a mount, half of whose time it was.
 *
 * V8 believes what it is given if it is told that it fits the text: `folder` belongs to one build and one version of Node.
 */
export function loadCompiled(program: string, folder: string): void {
  const command = process.argv.slice(2).find((arg) => /^[a-z][a-z-]*$/.test(arg))
  // Help and versions read everything or nothing.
  if (command === undefined) return
  const { extensions } = createRequire(import.meta.url)
  const loadAsNodeDoes = extensions['.js']
  const loaded: Loaded[] = []
  extensions['.js'] = (module, path) => {
    if (dirname(path) !== program) return loadAsNodeDoes(module, path)
    const keptAt = join(folder, `${command}-${basename(path)}`)
    const kept = readKept(keptAt)
    const script = new Script(`${HEAD}${readFileSync(path, 'latin1')}\n})`, {
      filename: path,
      columnOffset: -HEAD.length,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      ...(kept && { cachedData: kept.code }),
    })
    const { runs, uses } = kept && !script.cachedDataRejected ? kept : NOTHING_KEPT
    loaded.push({ script, path: keptAt, runs, uses })
    const body: ModuleBody = script.runInThisContext()
    body.call(module.exports, module.exports, (id) => module.require(id), module, path, program)
  }
  let used = 0
  subscribe(USES_CHANNEL, (uses) => {
    used |= uses as number
  })
  process.on('exit', (code) => {
    // A misspelt command is not worth keeping.
    if (code !== 0) return
    const lacking = loaded.filter(({ runs, uses }) => runs < RUNS_GATHERED || (used & ~uses) !== 0)
    keep(lacking, used, folder)
  })
}

/** For the next start. Where that fails, it compiles again. */
function keep(loaded: readonly Loaded[], used: number, folder: string): void {
  if (loaded.length === 0 || !hasRoom(folder, loaded.length)) return
  // They are written down beside the code, and it is refused where others are set; at a start none is (support/buffer-garbage.ts,
  // support/heap-growth.ts).
  setFlagsFromString('--no-external-memory-accounted-in-global-limit')
  setFlagsFromString('--heap-growing-percent=0')
  for (const { script, path, runs, uses } of loaded)
    try {
      writeKept(path, { code: script.createCachedData(), runs: runs + 1, uses: uses | used })
    } catch {
      return
    }
}

function hasRoom(folder: string, files: number): boolean {
  try {
    return readdirSync(folder).length + files <= FILES_MAX
  } catch {
    return false
  }
}

/** Behind the code: the sum of it, what the runs told, and how many there were. */
const TAIL = { bytes: 12, sum: 0, uses: 4, runs: 8 } as const
const NOTHING_KEPT = { runs: 0, uses: 0 } as const

function readKept(path: string): Kept | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch {
    return undefined
  }
  if (bytes.length < TAIL.bytes) return undefined
  const code = bytes.subarray(0, -TAIL.bytes)
  if (bytes.readInt32LE(code.length + TAIL.sum) !== sum(code)) return undefined
  return {
    code,
    runs: bytes.readInt32LE(code.length + TAIL.runs),
    uses: bytes.readInt32LE(code.length + TAIL.uses),
  }
}

/** Nobody sees half of one. What a power cut leaves of it the sum tells, so that nobody waits for the disk at the end of a command. */
function writeKept(path: string, { code, runs, uses }: Kept): void {
  const tail = Buffer.alloc(TAIL.bytes)
  tail.writeInt32LE(sum(code), TAIL.sum)
  tail.writeInt32LE(uses, TAIL.uses)
  tail.writeInt32LE(runs, TAIL.runs)
  const own = `${path}.${process.pid}`
  writeFileSync(own, Buffer.concat([code, tail]), { mode: 0o600 })
  renameSync(own, path)
}

/**
 * Of one word in 64 bytes, and of the length: tells what was cut off or lost, which V8 does not look for, and takes a start a fifth
 * of a millisecond.
 */
function sum(code: Buffer): number {
  let sum = code.length
  for (let at = 0; at + 4 <= code.length; at += 64) sum = (Math.imul(sum, 31) + code.readInt32LE(at)) | 0
  return sum
}
