import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { CacheEviction } from '../../../../src/services/blobs/cache-eviction.ts'
import { DISK_CACHE_LOCK_STALE_MS } from '../../../../src/support/limits.ts'
import { tempDir } from '../../../support/temp-dir.ts'

it.each([
  ['long ago', -2],
  ['in the future, as it is after the clock was set back', 2],
])('goes on after the lock of a killed process, taken %s', async (_, ages) => {
  await using folder = await tempDir()
  const shard = join(folder.path, 'blobs', 'aa')
  await mkdir(shard, { recursive: true })
  for (const name of ['aa01', 'aa02', 'aa03']) await writeFile(join(shard, name), Buffer.alloc(16_384))
  const lock = join(folder.path, 'evicting')
  await writeFile(lock, '')
  const taken = (Date.now() + ages * DISK_CACHE_LOCK_STALE_MS) / 1000
  await utimes(lock, taken, taken)
  const eviction = new CacheEviction(folder.path, 20_000)
  // The first to come takes it away, the next one evicts.
  await eviction.run()
  await eviction.run()
  expect((await readdir(shard)).length).toBeLessThan(3)
  expect(await readdir(folder.path)).not.toContain('evicting')
})

it('leaves the lock of one that runs', async () => {
  await using folder = await tempDir()
  const shard = join(folder.path, 'blobs', 'aa')
  await mkdir(shard, { recursive: true })
  for (const name of ['aa01', 'aa02']) await writeFile(join(shard, name), Buffer.alloc(16_384))
  await writeFile(join(folder.path, 'evicting'), '')
  const eviction = new CacheEviction(folder.path, 20_000)
  await eviction.run()
  await eviction.run()
  expect(await readdir(shard)).toHaveLength(2)
})
