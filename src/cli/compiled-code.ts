import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { constants, Script } from 'node:vm'

/** Of the functions of the published program that ran, as V8 made it of their text. */
interface Kept {
  readonly script: Script
  readonly path: string
}

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
  const command = process.argv.slice(2).find((arg) => /^[a-z][a-z-]*$/.test(arg)) ?? 'help'
  const { extensions } = createRequire(import.meta.url)
  const loadAsNodeDoes = extensions['.js']
  const missing: Kept[] = []
  extensions['.js'] = (module, path) => {
    if (dirname(path) !== program) return loadAsNodeDoes(module, path)
    const kept = join(folder, `${command}-${basename(path)}`)
    const cachedData = readKept(kept)
    const script = new Script(`${HEAD}${readFileSync(path, 'latin1')}\n})`, {
      filename: path,
      columnOffset: -HEAD.length,
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      ...(cachedData && { cachedData }),
    })
    if (!cachedData || script.cachedDataRejected) missing.push({ script, path: kept })
    const body: ModuleBody = script.runInThisContext()
    body.call(module.exports, module.exports, (id) => module.require(id), module, path, program)
  }
  // A misspelt command is not worth keeping.
  process.on('exit', (code) => {
    if (code === 0 && missing.length > 0) keep(missing)
  })
}

/** For the next start. Where that fails, it compiles again. */
function keep(missing: readonly Kept[]): void {
  // They are written down beside the code, and it is refused where others are set; at a start none is. (support/buffer-garbage.ts,
  // support/heap-growth.ts)
  setFlagsFromString('--no-external-memory-accounted-in-global-limit')
  setFlagsFromString('--heap-growing-percent=0')
  for (const { script, path } of missing)
    try {
      writeKept(path, script.createCachedData())
    } catch {
      return
    }
}

const WORD = Int32Array.BYTES_PER_ELEMENT

function readKept(path: string): Uint8Array | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch {
    return undefined
  }
  const code = bytes.subarray(0, -WORD)
  return bytes.length > WORD && bytes.readInt32LE(code.length) === sum(code) ? code : undefined
}

function writeKept(path: string, code: Buffer): void {
  const tail = Buffer.alloc(WORD)
  tail.writeInt32LE(sum(code))
  const own = `${path}.${process.pid}`
  const file = openSync(own, 'w', 0o600)
  try {
    writeSync(file, Buffer.concat([code, tail]))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(own, path)
}

/** Of one word in 64 bytes and the length: tells what was cut or lost, which V8 does not look for, and takes no time that could be told. */
function sum(code: Buffer): number {
  let sum = code.length
  for (let at = 0; at + WORD <= code.length; at += 64) sum = (Math.imul(sum, 31) + code.readInt32LE(at)) | 0
  return sum
}
