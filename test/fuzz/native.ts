import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
const SANITIZED = [
  '-std=gnu11',
  '-O1',
  '-g',
  '-fno-omit-frame-pointer',
  '-fsanitize=address,undefined',
  '-fno-sanitize-recover=all',
]

/** Targets in C, under ASan and UBSan: the fuzzer of each is test/fuzz/native/NAME.c, and what it fuzzes these. */
export const NATIVE_TARGETS: Readonly<Record<string, readonly string[]>> = {
  virtqueue: ['native/virtqueue.c', 'native/guest_memory.c', 'native/prepared_pages.c'],
}

/** Builds the program that fuzzes a target, in that folder; or says why there is none. */
export function buildFuzzer(
  target: string,
  folder: string,
): { readonly program: string } | { readonly missing: string } {
  const program = join(folder, target)
  const objects: string[] = []
  // Only what is fuzzed tells which way it takes.
  for (const source of NATIVE_TARGETS[target]!) {
    const object = join(folder, `${source.replaceAll('/', '-')}.o`)
    const failed = compile([...SANITIZED, '-fsanitize-coverage=trace-pc', '-c', source, '-o', object])
    if (failed) return { missing: failed }
    objects.push(object)
  }
  const harness = join('test/fuzz/native', `${target}.c`)
  const failed = compile([...SANITIZED, '-Inative', harness, ...objects, '-pthread', '-o', program])
  return failed ? { missing: failed } : { program }
}

function compile(args: readonly string[]): string | undefined {
  const { status, stderr, error } = spawnSync(process.env['CC'] ?? 'gcc', args, {
    cwd: ROOT,
    encoding: 'utf8',
  })
  return status === 0 ? undefined : `no gcc with sanitizers: ${error?.message ?? stderr}`
}

export interface NativeRun {
  readonly status: number | null
  /** What it said, on standard error. */
  readonly said: string
  /** Inputs that reach all that was reached; none after a failure. */
  readonly corpus: Uint8Array[]
}

/** Replays the corpus, and fuzzes for so many seconds from it; `race`: while the memory changes by itself. */
export async function runFuzzer(
  program: string,
  corpus: readonly Uint8Array[],
  { seconds = 0, seed = 1, race = false } = {},
): Promise<NativeRun> {
  const args = [String(seconds), String(seed), ...(race ? ['race'] : [])]
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  const output: Buffer[] = []
  let said = ''
  child.stdout.on('data', (data: Buffer) => output.push(data))
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  // It may end at a bad input before it has read them all; then its status tells.
  child.stdin.on('error', () => {})
  child.stdin.end(Buffer.concat(corpus.flatMap((input) => [lengthOf(input), input])))
  return { status: await ended, said, corpus: [...inputs(Buffer.concat(output))] }
}

function lengthOf(input: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(input.length)
  return length
}

function* inputs(output: Buffer): Generator<Uint8Array> {
  for (let at = 0; at + 4 <= output.length; ) {
    const length = output.readUInt32LE(at)
    yield output.subarray(at + 4, at + 4 + length)
    at += 4 + length
  }
}
