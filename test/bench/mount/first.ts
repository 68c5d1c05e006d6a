/** What a mount is asked for the first time: a new one for every figure, over a store that is in the page cache. */
import { join } from 'node:path'
import { measure } from '../report.ts'
import { type Fixture, forgetHashed, largeBlob, otherStoreFlags } from './fixture.ts'
import { inTurns, ROUNDS } from './rounds.ts'
import { onDisk, ours, type Place, rivals, type Side } from './sides.ts'
import { type ComparedRow, comparedTable } from './table.ts'
import {
  dropInodes,
  find,
  pack,
  readSmall,
  readThrough,
  startMake,
  startPython,
  unpack,
  warm,
} from './work.ts'

/** The disk and ours. */
const OWN = 2

interface Work extends Pick<ComparedRow, 'work' | 'target' | 'note'> {
  readonly run: (place: Place) => void
  /** What the disk does instead, and writes. */
  readonly baseline?: () => void
  /** What the disk does where that is not the same work on the tree that was imported. */
  readonly onDisk?: () => void
  /** Before each of those, and not measured. */
  readonly prepare?: () => void
  /** Once, before all rounds. */
  readonly before?: () => Promise<void>
  /** Starting the mount counts, too. */
  readonly fromNothing?: boolean
  /** In the place of ours with its defaults; the rivals have nothing like it then. */
  readonly side?: Side
}

export async function benchFirst(fixture: Fixture): Promise<void> {
  await benchWork(fixture, 'For the first time', treeWork(fixture))
}

/** The same of one large file. */
export async function benchLarge(fixture: Fixture): Promise<void> {
  await benchWork(fixture, 'A large file for the first time', largeWork(fixture))
}

async function benchWork(fixture: Fixture, title: string, all: readonly Work[]): Promise<void> {
  const [own, others] = [ours('ours'), rivals()]
  const disk = onDisk(fixture)
  const heads = ['ext4', own.name, ...others.map(({ name }) => name)]
  const print = comparedTable(`${title}: a new mount for each, medians of ${ROUNDS}`, heads)
  for (const { run, baseline, onDisk: elsewhere, prepare, before, fromNothing, side = own, ...rest } of all) {
    await before?.()
    const compared = side === own ? others : []
    const measureDisk = async () => {
      prepare?.()
      const time = await measure(baseline ?? elsewhere ?? (() => run(disk)))
      // With the inodes the kernel forgot what it had of their contents.
      if (prepare) warm(fixture.folder)
      return time
    }
    const measures = [side, ...compared].map(
      (each) => () => measureFirst(each, fixture, run, fromNothing ?? false),
    )
    const times = baseline
      ? // What it writes would go on to the disk while ours is measured.
        [...(await inTurns([measureDisk], 1)), ...(await inTurns(measures, 1))]
      : await inTurns([measureDisk, ...measures], OWN)
    print({
      ...rest,
      baseline: times[0]!,
      ours: times[1]!,
      rivals: others.map((_, i) => times[i + 2]),
    })
  }
}

async function measureFirst(
  side: Side,
  fixture: Fixture,
  run: (place: Place) => void,
  fromNothing: boolean,
): Promise<number> {
  const start = performance.now()
  await using place = await side.open(fixture)
  const opened = performance.now()
  run(place)
  return (performance.now() - (fromNothing ? start : opened)) / 1000
}

function treeWork(fixture: Fixture): Work[] {
  const { sizes, folder } = fixture
  const [files, small] = [(sizes.smallDirectories + sizes.moreDirectories) * 100, sizes.smallDirectories]
  const smallOf = (place: Place) => join(place.at('tree'), 'small')
  const make = Object.keys(fixture.storePaths).find((name) => name.startsWith('make-'))!
  const loose = ours('loose', ...otherStoreFlags(fixture, 'loose'))
  const listAndRead = (place: Place) => {
    find(smallOf(place))
    readSmall(smallOf(place), small)
  }
  return [
    {
      work: `\`find -size\`, ${files} files`,
      target: 1.25,
      run: (place) => find(place.at('tree')),
      prepare: dropInodes,
    },
    { work: `list, then read ${small * 100} small files`, target: 2, run: listAndRead },
    { work: 'the same, from a file for each', run: listAndRead, side: loose },
    {
      work: `read ${small * 100} small files by name, never listed`,
      run: (place) => readSmall(smallOf(place), small),
    },
    {
      work: `\`tar c\` of ${small * 100} small files, against \`tar x\``,
      target: 1.3,
      run: (place) => pack(smallOf(place)),
      baseline: () => void unpack(fixture.smallArchive, folder),
    },
    {
      work: 'first `make --version` in a mounted closure, against unpacking it',
      target: 0.1,
      run: (place) => startMake(place.at(make)),
      baseline: () => startMake(join(unpack(fixture.closureArchive, folder), make)),
    },
    {
      work: 'the same with Python, mounting it included',
      run: (place) => startPython(place.at('python')),
      baseline: () => startPython(join(unpack(fixture.closureArchive, folder), 'python')),
      fromNothing: true,
    },
  ]
}

function largeWork(fixture: Fixture): Work[] {
  const { largeBytes } = fixture.sizes
  const readLarge = (place: Place) => readThrough(join(place.at('tree'), 'large'))
  const large = `read ${largeBytes / 2 ** 20} MiB in order`
  const rate = (s: number) => `${(largeBytes / s / 1e9).toFixed(1)} GB/s`
  const raw = otherStoreFlags(fixture, 'raw')
  const passthrough = ours('passthrough', ...raw, '--passthrough')
  // Two files of the same contents may lie in pages of other sizes, which makes one of them twice as fast.
  const blob = largeBlob(fixture)
  const readBlob = () => readThrough(blob)
  return [
    { work: `${large}, from compressed chunks`, note: rate, run: readLarge },
    {
      work: `${large}, from a raw file that nobody hashed since the machine was started`,
      note: rate,
      run: readLarge,
      side: ours('raw', ...raw),
      onDisk: readBlob,
      before: async () => forgetHashed(fixture),
    },
    {
      work: `${large}, from a raw file as an import leaves it`,
      target: 3.33,
      note: rate,
      run: readLarge,
      side: ours('raw', ...raw),
      onDisk: readBlob,
      // Which hashes what is not known to be right, and makes a note of it.
      before: async () => {
        await measureFirst(passthrough, fixture, readLarge, false)
      },
    },
    {
      work: `${large}, \`--passthrough\``,
      target: 1.05,
      note: rate,
      run: readLarge,
      side: passthrough,
      onDisk: readBlob,
    },
  ]
}
