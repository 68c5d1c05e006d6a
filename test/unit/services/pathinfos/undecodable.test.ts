import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openLmdbTable } from '../../../../src/services/lmdb-table.ts'
import { openLmdbPathInfoService } from '../../../../src/services/pathinfos/lmdb.ts'
import { hex } from '../../../../src/support/bytes.ts'
import type { StoreError } from '../../../../src/support/errors.ts'
import { collect } from '../../../support/collect.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { tempDir } from '../../../support/temp-dir.ts'

describe('a stored path info that does not decode', () => {
  const known = makePathInfo('known')
  const broken = new Uint8Array(20)

  async function withBroken(path: string): Promise<void> {
    await using table = await openLmdbTable(path, 'pathinfo')
    await table.put([
      { key: broken, value: Buffer.from('no message') },
      { key: broken.map(() => 255), value: Buffer.from('neither') },
    ])
  }

  it('is left out of a listing, which tells how many were, and no other path with it', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'p.lmdb')
    const told: [number, StoreError][] = []
    await using service = await openLmdbPathInfoService(path, (...each) => told.push(each))
    await service.put(known)
    expect(await collect(service.list())).toHaveLength(1)
    expect(told).toEqual([])
    await withBroken(path)
    expect((await collect(service.list())).map(({ storePath }) => storePath.name)).toEqual([
      known.storePath.name,
    ])
    expect(told).toMatchObject([[2, { code: 'corrupt', message: expect.stringContaining(hex(broken)) }]])
    for await (const _ of service.list()) break
    expect(told).toHaveLength(2)
  })

  it('is an error for who asks for it, and not absence', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'p.lmdb')
    await using service = await openLmdbPathInfoService(path)
    await withBroken(path)
    await expect(service.get(broken)).rejects.toMatchObject({ code: 'corrupt' })
  })
})
