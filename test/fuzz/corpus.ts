import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Larger ones are the seeds, mutated. */
const KEPT_BYTES_MAX = 2_048

/** One input a line, in base64. Kept small: what the fuzzer found to fare differently, at its smallest. */
export function loadCorpus(target: string): Uint8Array[] {
  const path = corpusPath(target)
  if (!existsSync(path)) return []
  const lines = readFileSync(path, 'latin1').split('\n')
  return lines.filter((line) => line !== '').map((line) => Buffer.from(line, 'base64'))
}

export function saveCorpus(target: string, inputs: readonly Uint8Array[]): void {
  const kept = inputs.filter((input) => input.length <= KEPT_BYTES_MAX)
  const lines = kept.map((input) => Buffer.from(input).toString('base64'))
  // Shortest first, so that the file changes little from run to run.
  lines.sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
  writeFileSync(corpusPath(target), lines.map((line) => `${line}\n`).join(''))
}

function corpusPath(target: string): string {
  return fileURLToPath(new URL(`corpus/${target}.txt`, import.meta.url))
}
