/** How long it takes until a mount serves: the same whatever the size of the store, and not much more than Node itself. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { openLmdbPathInfoService } from '../../../src/services/pathinfos/lmdb.ts'
import { collect } from '../../support/collect.ts'
import { makePathInfo } from '../../support/path-infos.ts'
import { measure, median } from '../report.ts'
import { builtTvixStore, run } from './programs.ts'
import { ended, startMount } from './sides.ts'
import { seconds } from './table.ts'

const ROUNDS = 11
const [FEW, MANY] = [10, 100_000]
const TARGET = 2

export async function benchReady(folder: string): Promise<void> {
  const command = builtTvixStore()
  const target = join(folder, 'mnt')
  mkdirSync(target, { recursive: true })
  const stores = [await makeStore(folder, FEW), await makeStore(folder, MANY)]
  const node: number[] = []
  const mounts: number[][] = stores.map(() => [])
  for (let round = 0; round < ROUNDS; round++) {
    node.push(await measure(() => void run([process.execPath], ['-e', '0'])))
    for (const [i, flags] of stores.entries()) mounts[i]!.push(await untilReady(command, flags, target))
  }
  const [bare, few, many] = [median(node), median(mounts[0]!), median(mounts[1]!)]
  console.log(`\nUntil a mount serves, medians of ${ROUNDS}\n`)
  console.log('| what | time | ratio | target |\n|---|---|---|---|')
  console.log(`| \`node -e 0\` | ${seconds(bare)} | | |`)
  console.log(
    `| a store of ${FEW} paths, of node | ${seconds(few)} | ${(few / bare).toFixed(2)} | ≤ ${TARGET} |`,
  )
  console.log(`| of ${MANY} paths, of those ${FEW} | ${seconds(many)} | ${(many / few).toFixed(2)} | 1 |`)
}

/** The flags of a mount over a store of so many paths. */
async function makeStore(folder: string, paths: number): Promise<string[]> {
  const store = join(folder, `store-of-${paths}`)
  const file = `${store}-pathinfo.lmdb`
  await using pathInfos = await openLmdbPathInfoService(file)
  if ((await collect(pathInfos.list())).length < paths)
    await Promise.all(Array.from({ length: paths }, (_, i) => pathInfos.put(makePathInfo(`${i}`))))
  return [
    `--blob-service-addr=objectstore+file://${store}-blobs`,
    `--directory-service-addr=lmdb://${store}-directories.lmdb`,
    `--path-info-service-addr=lmdb://${file}`,
    '--list-root',
  ]
}

async function untilReady(
  command: readonly string[],
  flags: readonly string[],
  target: string,
): Promise<number> {
  const start = performance.now()
  const child = await startMount(command, [...flags, target])
  const took = (performance.now() - start) / 1000
  await ended(child, () => void child.kill('SIGTERM'))
  return took
}
