import { spawn } from 'node:child_process'
import { once } from 'node:events'
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
  await eviction.run()
  expect((await readdir(shard)).length).toBeLessThan(3)
  expect(await readdir(folder.path)).not.toContain('evicting')
})

it('goes on at once when the process whose lock it is does not run any more', async () => {
  await using folder = await tempDir()
  const shard = join(folder.path, 'blobs', 'aa')
  await mkdir(shard, { recursive: true })
  for (const name of ['aa01', 'aa02']) await writeFile(join(shard, name), Buffer.alloc(16_384))
  const killed = spawn('sleep', ['60'])
  await writeFile(join(folder.path, 'evicting'), String(killed.pid))
  killed.kill('SIGKILL')
  await once(killed, 'exit')
  await new CacheEviction(folder.path, 20_000).run()
  expect(await readdir(shard)).toHaveLength(1)
  expect(await readdir(folder.path)).not.toContain('evicting')
})

it.each(['', String(process.pid)])('leaves the lock of one that runs (%j)', async (pid) => {
  await using folder = await tempDir()
  const shard = join(folder.path, 'blobs', 'aa')
  await mkdir(shard, { recursive: true })
  for (const name of ['aa01', 'aa02']) await writeFile(join(shard, name), Buffer.alloc(16_384))
  await writeFile(join(folder.path, 'evicting'), pid)
  const eviction = new CacheEviction(folder.path, 20_000)
  await eviction.run()
  await eviction.run()
  expect(await readdir(shard)).toHaveLength(2)
})
