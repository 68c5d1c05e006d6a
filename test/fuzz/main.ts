/** `scripts/fuzz TARGET [--seconds N] [--seed N]`, for maintainers; continuous integration replays the corpus. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { loadCorpus, saveCorpus } from './corpus.ts'
import { buildFuzzer, NATIVE_TARGETS, runFuzzer } from './native.ts'
import { fuzz } from './run.ts'
import { TARGETS } from './targets.ts'

const NAMES = [...Object.keys(TARGETS), ...Object.keys(NATIVE_TARGETS)]
const USAGE = `usage: scripts/fuzz ${NAMES.join('|')} [--seconds 60] [--seed N] [--race]`
const PROGRESS_MS = 10_000

const { values, positionals } = readArguments()
if (values.help) {
  console.log(USAGE)
  process.exit(0)
}
const target = positionals[0] ?? ''
const seconds = Number(values.seconds)
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
if (!NAMES.includes(target) || !(seconds > 0) || !Number.isSafeInteger(seed)) {
  console.error(USAGE)
  process.exit(64)
}

if (Object.hasOwn(NATIVE_TARGETS, target)) {
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-fuzz-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const built = buildFuzzer(target, folder)
  if ('missing' in built) {
    console.error(built.missing)
    process.exit(69)
  }
  const { race = false } = values
  const { status, said, corpus } = await runFuzzer(built.program, loadCorpus(target), { seconds, seed, race })
  console.error(`${target}: seed ${seed}:\n${said}`)
  if (status !== 0) process.exit(1)
  if (!race) saveCorpus(target, corpus)
  process.exit(0)
}

let told = performance.now()
const started = told
const result = await fuzz(target, {
  seconds,
  seed,
  corpus: loadCorpus(target),
  progress: (executions, corpus) => {
    if (performance.now() - told < PROGRESS_MS) return
    told = performance.now()
    const rate = Math.round((executions / (told - started)) * 1000)
    console.error(`${target}: ${executions} executions, ${rate} a second, ${corpus} outcomes`)
  },
})
if (result.failure) {
  const path = join(tmpdir(), `fuzz-${target}-${seed}.bin`)
  writeFileSync(path, result.failure.input)
  console.error(`${target}: seed ${seed}: after ${result.executions} executions: ${result.failure.error}`)
  console.error(`the input is in ${path}`)
  process.exit(1)
}
saveCorpus(target, result.corpus)
console.log(
  `${target}: seed ${seed}: ${result.executions} executions in ${seconds} s, ${result.corpus.length} outcomes, nothing found`,
)

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        seconds: { type: 'string', default: '60' },
        seed: { type: 'string' },
        race: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
  } catch (error) {
    console.error((error as Error).message)
    console.error(USAGE)
    process.exit(64)
  }
}
