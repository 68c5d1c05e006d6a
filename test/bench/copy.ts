/**
 * `npm run bench -- copy`: what moves, and how long it takes, between two daemons of ours: a tree, the same again, and
 * a version of it of which 5 % of the files changed. The baseline is the tree's NAR, which is what a copy of NARs moves.
 */
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { remoteStoreFlags, runOk, startDaemon, TVIX_STORE } from '../support/cli.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'

const TREES = ['/usr/share/perl', '/usr/share/perl5', '/usr/include']
/** One file in so many changes. */
const CHANGED = 20

interface Summary {
  readonly narBytes: number
  readonly movedBytes: number
  readonly seconds: number
}

export async function benchCopy(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tvix-store-bench-copy-'))
  try {
    await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function run(folder: string): Promise<void> {
  const tree = join(folder, 'tree')
  for (const [i, source] of TREES.entries())
    cpSync(source, join(tree, `${i}`), { recursive: true, verbatimSymlinks: true, force: true })
  for (const state of ['from', 'to']) await mkdir(join(folder, state))
  await using from = await startDaemon(join(folder, 'from'))
  await using to = await startDaemon(join(folder, 'to'))
  const importTree = async () =>
    (await runOk(TVIX_STORE, ['import', ...remoteStoreFlags(from.address), tree])).trim()
  const copy = async (path: string): Promise<Summary> =>
    JSON.parse(await runOk(TVIX_STORE, ['copy', '--json', '--from', from.address, '--to', to.address, path]))

  const first = await importTree()
  print('| copy | NAR | moved | moved / NAR | seconds |\n|---|---|---|---|---|')
  printRow('a tree, to an empty store', await copy(first))
  printRow('the same again', await copy(first))
  const { files, changed } = change(tree)
  printRow(`a version with ${changed} of ${files} files changed`, await copy(await importTree()))
}

/** Adds 1 kB of noise to every twentieth file. */
function change(tree: string): { files: number; changed: number } {
  const files = [...filesBelow(tree)]
  const chosen = files.filter((_, i) => i % CHANGED === 0)
  for (const [i, file] of chosen.entries()) writeFileSync(file, pseudoRandom(1_000, i + 1), { flag: 'a' })
  return { files: files.length, changed: chosen.length }
}

/** Regular files only, and not by way of symlinks, which Node's recursive listing follows. */
function* filesBelow(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile()) yield path
  }
}

function printRow(work: string, { narBytes, movedBytes, seconds }: Summary): void {
  const share = narBytes === 0 ? '–' : `${((100 * movedBytes) / narBytes).toFixed(1)} %`
  print(`| ${work} | ${megabytes(narBytes)} | ${megabytes(movedBytes)} | ${share} | ${seconds.toFixed(2)} |`)
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`
}

function print(line: string): void {
  console.log(line)
}
