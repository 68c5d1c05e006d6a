/** What native/pool_job.h promises for every addon that works in the thread pool. */
import { createHash } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { loadAddon } from '../../../src/support/addon.ts'
import { createSha256 } from '../../../src/support/native-sha256.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'

type Calls = Readonly<Record<string, (...args: unknown[]) => unknown>>

const CALLS = [
  ['chunker', 'cut'],
  ['codec', 'loadChunks'],
  ['file_notes', 'getAttribute'],
  ['file_notes', 'setAttribute'],
  ['file_notes', 'touchAccess'],
  ['file_sync', 'syncFileSystem'],
  ['nar_hash', 'update'],
  ['object_files', 'areThere'],
  ['object_files', 'createEmpty'],
  ['object_files', 'publish'],
  ['object_files', 'removeTemps'],
  ['object_files', 'writeTemps'],
  ['packs', 'layOut'],
  ['sha256', 'update'],
  ['source_walk', 'next'],
] as const

const EINVAL = -22

it.each(CALLS)('%s.%s refuses what are no arguments, each time', (addon, name) => {
  const call = (loadAddon(addon) as Calls)[name]!
  for (let i = 0; i < 1000; i++) {
    expect(call()).toBe(EINVAL)
    expect(call(7n, [1], [new Uint8Array(1), 'no bytes'], Symbol.iterator, i, {}, null)).toBe(EINVAL)
  }
})

it('keeps what nobody else has any more until the job is done', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const jobs = Array.from({ length: 16 }, (_, i) => {
    const hash = createSha256()
    return hash.update([pseudoRandom(400_000, i), pseudoRandom(300_000, i + 1)]).then(() => hash.digest())
  })
  collect()
  for (let i = 0; i < 8; i++) Buffer.alloc(1_000_000, 255)
  for (const [i, digest] of (await Promise.all(jobs)).entries()) {
    const expected = createHash('sha256')
      .update(pseudoRandom(400_000, i))
      .update(pseudoRandom(300_000, i + 1))
    expect(Buffer.from(digest).toString('hex')).toBe(expected.digest('hex'))
  }
})
