/** Names that nobody listed, asked for by several at once: what the loops over directories in C gain over those in JavaScript. */
import { execFileSync } from 'node:child_process'
import { measure, median } from '../report.ts'
import type { Fixture } from './fixture.ts'
import { JAVASCRIPT, ours } from './sides.ts'
import { find } from './work.ts'

const ROUNDS = 5
/** Of looking up names; walking has none. */
const TARGET = 0.6

export async function benchLookups(fixture: Fixture): Promise<void> {
  const sides = [ours('ours'), JAVASCRIPT]
  const names = execFileSync('find', [`${fixture.content}/tree`, '-type', 'f', '-printf', '%P\\0'], {
    maxBuffer: 2 ** 26,
  })
  const count = names.filter((byte) => byte === 0).length
  const looked: number[][] = [[], []]
  const listed: number[][] = [[], []]
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, side] of sides.entries()) {
      {
        await using place = await side.open(fixture)
        looked[i]!.push(await measure(() => lookUp(place.at('tree'), names)))
      }
      await using place = await side.open(fixture)
      listed[i]!.push(await measure(() => find(place.at('tree'))))
    }
  console.log(`\nThe reference in JavaScript, ${count} names, medians of ${ROUNDS}\n`)
  console.log('| work | ours | JavaScript alone | rate, of ours | target |\n|---|---|---|---|---|')
  for (const [work, [native = [], reference = []], target] of [
    ['look up every name', looked, `≥ ${TARGET}`],
    ['`find -size`', listed, ''],
  ] as const) {
    const rates = [native, reference].map((times) => count / median(times))
    const [own = 0, javaScript = 0] = rates
    const shown = rates.map((rate) => `${(rate / 1000).toFixed(0)},000/s`).join(' | ')
    console.log(`| ${work} | ${shown} | ${(javaScript / own).toFixed(2)} | ${target} |`)
  }
}

function lookUp(path: string, names: Buffer): void {
  execFileSync('xargs', ['-0', '-P4', '-n2000', 'stat', '--format='], { cwd: path, input: names })
}
