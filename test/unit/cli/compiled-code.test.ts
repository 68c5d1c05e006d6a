/** Code that ran is kept compiled: it is taken by the next run, never in the place of a damaged file, and nothing depends on it. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tempDir } from '../../support/temp-dir.ts'

const MODULE = join(import.meta.dirname, '../../../src/cli/compiled-code.ts')

const MAIN = `const other = require("./other.js"); exports.said = other.greet("you"); module.exports.paths = [__filename, __dirname]
exports.stack = () => { try { other.fail() } catch (error) { return error.stack } }`
const OTHER = `exports.greet = function greet(name) { return "hello " + name }; exports.fail = function fail() { throw new Error("x") }`

let dir: Awaited<ReturnType<typeof tempDir>>
let program: string
let folder: string

beforeEach(async () => {
  dir = await tempDir()
  program = join(dir.path, 'program')
  folder = join(dir.path, 'kept')
  mkdirSync(program)
  mkdirSync(folder)
  writeFileSync(join(program, 'package.json'), '{ "type": "commonjs" }')
  writeFileSync(join(program, 'main.js'), MAIN)
  writeFileSync(join(program, 'other.js'), OTHER)
})

afterEach(() => dir[Symbol.asyncDispose]())

interface Told {
  readonly said: string
  readonly paths: readonly string[]
  readonly stack: string
}

/** Loads and uses the program in a process of its own, which sets the flags that ours sets. */
function run(command = 'mount', exitCode = 0, uses = 0): Told {
  const text = `
    import { channel } from 'node:diagnostics_channel'
    import { createRequire } from 'node:module'
    import { setFlagsFromString } from 'node:v8'
    import { loadCompiled, USES_CHANNEL } from ${JSON.stringify(MODULE)}
    process.argv = ['node', 'main.js', ${JSON.stringify(command)}]
    loadCompiled(${JSON.stringify(program)}, ${JSON.stringify(folder)})
    const { said, paths, stack } = createRequire(${JSON.stringify(`${program}/`)})('./main.js')
    setFlagsFromString('--external-memory-accounted-in-global-limit')
    setFlagsFromString('--heap-growing-percent=50')
    console.log(JSON.stringify({ said, paths, stack: stack() }))
    channel(USES_CHANNEL).publish(${uses})
    process.exitCode = ${exitCode}`
  try {
    return JSON.parse(
      execFileSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' }),
    )
  } catch (error) {
    if (exitCode === 0) throw error
    return JSON.parse((error as { stdout: string }).stdout)
  }
}

/** How many runs there were whose code is in the file: one that V8 refuses begins at 1 again. */
function runs(): number {
  const kept = readFileSync(join(folder, 'mount-other.js'))
  return kept.readInt32LE(kept.length - 4)
}

test('a program runs as Node runs it, the first time and with what was kept', () => {
  for (let i = 0; i < 2; i++) {
    const { said, paths, stack } = run()
    expect(said).toBe('hello you')
    expect(paths).toEqual([join(program, 'main.js'), program])
    expect(stack).toContain(`${join(program, 'other.js')}:1:${OTHER.indexOf('new Error') + 1}`)
    expect(stack).toContain(`${join(program, 'main.js')}:2:`)
  }
  expect(readdirSync(folder).sort()).toEqual(['mount-main.js', 'mount-other.js'])
})

function runOnce(): number {
  run()
  return runs()
}

test('a few runs add what they used, and the rest writes nothing', () => {
  expect(Array.from({ length: 6 }, runOnce)).toEqual([1, 2, 3, 4, 4, 4])
})

test('a run that does what none of them did adds that, and the next one like it nothing', () => {
  for (let i = 0; i < 4; i++) run('mount', 0, 0b001)
  const runsOf = (uses: number) => {
    run('mount', 0, uses)
    return runs()
  }
  expect([0b001, 0b011, 0b010, 0b001, 0, 0b110, 0b111].map(runsOf)).toEqual([4, 5, 5, 5, 5, 6, 6])
})

test('each command has its own, and none that failed', () => {
  run('import')
  run('misspelt', 2)
  run('--help')
  expect(readdirSync(folder).every((name) => name.startsWith('import-'))).toBe(true)
})

test('a file that was cut, or lost a block, is not given to V8', () => {
  const path = join(folder, 'mount-other.js')
  run()
  run()
  const whole = readFileSync(path)
  for (const damage of [
    () => truncateSync(path, whole.length - 100),
    () => truncateSync(path, 3),
    () =>
      writeFileSync(path, Buffer.concat([whole.subarray(0, 512), Buffer.alloc(512), whole.subarray(1024)])),
  ]) {
    damage()
    expect(run().said).toBe('hello you')
    expect(runs()).toBe(1)
    expect(runOnce()).toBe(2)
  }
})

test('a folder that is full stays as it is', () => {
  run('import')
  for (let i = 0; i < 500; i++) writeFileSync(join(folder, `other-${i}.js`), '')
  const full = readdirSync(folder)
  expect(run().said).toBe('hello you')
  expect(readdirSync(folder)).toEqual(full)
})

test('where nothing can be kept it runs all the same', () => {
  folder = join(dir.path, 'file')
  writeFileSync(folder, '')
  expect(run().said).toBe('hello you')
})
