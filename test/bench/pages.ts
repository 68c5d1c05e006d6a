/**
 * The pages for people: how long the overview of a thousand paths takes in a browser, and what a million paths cost.
 * Screenshots for docs/ come from here too (`npm run bench -- screenshots`).
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { StorePath } from '../../src/model/nix/store-path.ts'
import { PathIndex } from '../../src/servers/http/pages/path-index.ts'
import { openLmdbPathInfoService } from '../../src/services/pathinfos/lmdb.ts'
import { formatBytes, formatCount } from '../../src/support/format.ts'
import { PAGES_INDEX_REST_MS_MIN } from '../../src/support/limits.ts'
import { startBrowser } from '../support/browser.ts'
import { startPagesServer } from '../support/pages-server.ts'
import { sampleStore } from '../support/pages-store.ts'
import { makePathInfo } from '../support/path-infos.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { tempDir } from '../support/temp-dir.ts'
import { measure, measureRepeated } from './report.ts'

const PATHS = 1_000
const MANY_PATHS = 1_000_000
const LOADS = 15

export async function benchPages(): Promise<void> {
  await benchBrowser()
  await benchManyPaths()
}

/** When the page had arrived, and when it was shown. */
const NAVIGATION_MS = `(() => {
  const [{ responseEnd, loadEventEnd }] = performance.getEntriesByType('navigation')
  return [responseEnd, loadEventEnd]
})()`

async function benchBrowser(): Promise<void> {
  const { parts } = await sampleStore(PATHS)
  await using dir = await tempDir()
  await using pathInfos = await openLmdbPathInfoService(join(dir.path, 'pathinfo.lmdb'))
  for await (const info of parts.pathInfos.list()) await pathInfos.put(info)
  await using server = await startPagesServer({ ...parts, pathInfos })
  await using browser = await startBrowser()
  const page = await browser.page()
  const first = await measure(async () => void (await page.goto(server.origin)))
  const loads: number[] = []
  const arrivals: number[] = []
  for (let i = 0; i < LOADS; i++) {
    // What is known has become old by then, so that the list is read again for each.
    await wait(PAGES_INDEX_REST_MS_MIN)
    await page.goto(server.origin)
    const [arrived, loaded] = (await page.evaluate(NAVIGATION_MS)) as [number, number]
    arrivals.push(arrived)
    loads.push(loaded)
  }
  const answer = await measureRepeated(
    LOADS,
    async () => void (await (await fetch(server.origin, { headers: { accept: 'text/html' } })).text()),
  )
  const median = (times: number[]) => times.sort((a, b) => a - b)[LOADS >> 1]!.toFixed(0)
  console.log(
    `overview of ${formatCount(PATHS)} paths: loaded in Chromium after ${median(loads)} ms, there after ${median(arrivals)} ms`,
  )
  console.log(
    `(median of ${LOADS}; the first, with all its setting up, ${ms(first)}); answered in ${ms(answer)}`,
  )
}

async function benchManyPaths(): Promise<void> {
  const digests = pseudoRandom(20 * MANY_PATHS, 1)
  const before = memory()
  const index = new PathIndex(() => manyPaths(digests))
  const turns = watchTurns()
  const first = await measure(async () => void (await index.snapshot()))
  const reading = await measure(() => index.settled())
  const longest = turns()
  const snapshot = await index.snapshot()
  const range = { start: 0, end: 100 }
  const search = await measureRepeated(5, async () => {
    await snapshot.names.search(['gtk', 'dev'], range, index.turn)
  })
  const kept = memory() - before
  index.close()
  console.log(
    `\n${formatCount(snapshot.names.length)} paths: first answer after ${ms(first)}, all read ${ms(reading)} later`,
  )
  console.log(`kept: ${formatBytes(kept)}; a search through all of them: ${ms(search)}`)
  console.log(`longest turn of the event loop meanwhile: ${ms(longest)} of processor time`)
}

const NAMES = [
  'gtk+3-3.24.38-dev',
  'python3.11-requests-2.31.0',
  'hello-2.12.1',
  'source',
  'openssl-3.0.12-bin',
]

async function* manyPaths(digests: Uint8Array) {
  const sample = makePathInfo('a')
  for (let i = 0; i < MANY_PATHS; i++) {
    const digest = digests.subarray(20 * i, 20 * (i + 1))
    yield { ...sample, storePath: StorePath.fromParts(digest, NAMES[i % NAMES.length]!), narSize: BigInt(i) }
  }
}

/** Until it is called: the processor time of this thread in the longest turn, in seconds. The clock would count others'. */
function watchTurns(): () => number {
  let longest = 0
  let before = process.threadCpuUsage()
  let immediate = setImmediate(function look() {
    const { user, system } = process.threadCpuUsage(before)
    longest = Math.max(longest, user + system)
    before = process.threadCpuUsage()
    immediate = setImmediate(look)
  })
  return () => {
    clearImmediate(immediate)
    return longest / 1e6
  }
}

/** Names and numbers lie outside of the heap. */
const memory = () => process.memoryUsage().arrayBuffers

const ms = (seconds: number) => `${(seconds * 1000).toFixed(1)} ms`

const FOLDER = join(import.meta.dirname, '../../docs/screenshots')

export async function takeScreenshots(): Promise<void> {
  const { parts, rich } = await sampleStore(PATHS)
  await using server = await startPagesServer(parts)
  await using browser = await startBrowser()
  mkdirSync(FOLDER, { recursive: true })
  const shoot = async (name: string, path: string, look: Parameters<typeof browser.page>[0]) => {
    const page = await browser.page(look)
    await page.goto(server.origin + path)
    await page.screenshot({ path: join(FOLDER, `${name}.png`), optimizeForSpeed: false })
    await page.close()
  }
  const desk = { width: 900, height: 640 }
  const tall = { width: 900, height: 900 }
  const phone = { width: 390, height: 760 }
  await shoot('overview', '/', desk)
  await shoot('overview-dark', '/', { ...desk, scheme: 'dark' })
  await shoot('search-phone', '/search?q=gtk', phone)
  await shoot('store-path', `/path/${rich.storePath}`, tall)
  await shoot('store-path-dark', `/path/${rich.storePath}`, { ...tall, scheme: 'dark' })
  await shoot('store-path-phone', `/path/${rich.storePath}`, phone)
  await shoot('directory', `/path/${rich.storePath}/lib`, { width: 900, height: 360 })
  await shoot('file', `/path/${rich.storePath}/bin/hello-wrapped`, { width: 900, height: 360 })
  await shoot('not-found', `/path/${rich.storePath}/bin/nope`, { width: 900, height: 300 })
}
