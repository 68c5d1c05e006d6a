/** What was done once is done again, by all in turns: the kernel's caches decide. */
import { join } from 'node:path'
import { measure } from '../report.ts'
import type { Fixture } from './fixture.ts'
import { inTurns, ROUNDS } from './rounds.ts'
import { onDisk, ours, type Place, rivals } from './sides.ts'
import { type ComparedRow, comparedTable } from './table.ts'
import { find, RANDOM_READS, readAtRandom, readSmall, readThrough, startPython } from './work.ts'

/** The disk and ours. */
const OWN = 2

interface Work extends Pick<ComparedRow, 'work' | 'target' | 'note'> {
  readonly run: (place: Place) => void
}

export async function benchWarm(fixture: Fixture): Promise<void> {
  const sides = [ours('ours'), ...rivals()]
  await using opened = new AsyncDisposableStack()
  const places = [onDisk(fixture)]
  for (const side of sides) places.push(opened.use(await side.open(fixture)))
  const print = comparedTable(`Again: medians of ${ROUNDS}`, ['ext4', ...sides.map(({ name }) => name)])
  for (const { run, ...rest } of workOn(fixture)) {
    for (const place of places) run(place)
    const times = await inTurns(
      places.map((place) => () => measure(() => run(place))),
      OWN,
    )
    const [baseline = [], own = [], ...others] = times
    print({ ...rest, baseline, ours: own, rivals: others })
  }
}

function workOn({ sizes }: Fixture): Work[] {
  const files = (sizes.smallDirectories + sizes.moreDirectories) * 100
  const small = sizes.smallDirectories
  const large = (place: Place) => join(place.at('tree'), 'large')
  const perRead = (s: number) => `${((s / RANDOM_READS) * 1e6).toFixed(2)} µs each`
  return [
    { work: `\`find -size\`, ${files} files`, target: 1.05, run: (place) => find(place.at('tree')) },
    {
      work: `open, read and close ${small * 100} small files`,
      target: 1.35,
      run: (place) => readSmall(join(place.at('tree'), 'small'), small),
    },
    {
      work: `read ${sizes.largeBytes / 2 ** 20} MiB in order`,
      target: 1.11,
      note: (s) => `${(sizes.largeBytes / s / 1e9).toFixed(1)} GB/s`,
      run: (place) => readThrough(large(place)),
    },
    {
      work: `${RANDOM_READS} reads of 4 KiB at random`,
      target: 1.11,
      note: perRead,
      run: (place) => readAtRandom(large(place)),
    },
    {
      work: "`python3 -c 'import json, asyncio'`",
      target: 1.1,
      run: (place) => startPython(place.at('python')),
    },
  ]
}
