/**
 * `npm run bench -- mount [--full] [--in FOLDER] [PART…]`: a mount beside the files it shows on ext4, and beside other ways
 * to show them. What it works on stays in FOLDER for the next time. Needs root.
 */
import { mkdirSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { benchFirst, benchLarge } from './first.ts'
import { makeFixture, SIZES, type Sizes } from './fixture.ts'
import { benchLookups } from './lookups.ts'
import { benchReady } from './ready.ts'
import { benchWarm } from './warm.ts'
import { warm } from './work.ts'

type Part = (folder: string, sizes: Sizes) => Promise<void>

const PARTS: Readonly<Record<string, Part>> = {
  warm: async (folder, sizes) => benchWarm(prepared(folder, sizes)),
  first: async (folder, sizes) => benchFirst(prepared(folder, sizes)),
  large: async (folder) => benchLarge(prepared(join(folder, 'large'), SIZES.large)),
  lookups: async (folder, sizes) => benchLookups(prepared(folder, sizes)),
  ready: benchReady,
}

export async function benchMount(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(3),
    options: { full: { type: 'boolean' }, in: { type: 'string' } },
    allowPositionals: true,
  })
  const unknown = positionals.find((name) => !(name in PARTS))
  if (unknown !== undefined) throw new Error(`no part is called ${unknown}: ${Object.keys(PARTS).join(', ')}`)
  const folder = values.in ?? (await mkdtemp(join(tmpdir(), 'tvix-store-bench-')))
  mkdirSync(folder, { recursive: true })
  try {
    for (const [name, part] of Object.entries(PARTS))
      if (positionals.length === 0 || positionals.includes(name))
        await part(folder, SIZES[values.full ? 'full' : 'default'])
  } finally {
    if (values.in === undefined) rmSync(folder, { recursive: true, force: true })
  }
}

function prepared(folder: string, sizes: Sizes) {
  const fixture = makeFixture(folder, sizes)
  warm(folder)
  return fixture
}
