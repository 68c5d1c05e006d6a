import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import { openStores, type Stores } from '../../../../src/services/composition/open-stores.ts'
import { openLmdbTable } from '../../../../src/services/lmdb-table.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { vectorDirectory } from '../../../support/directories.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const MEMORY = { blobs: 'memory:', directories: 'memory:', pathInfos: 'memory:' }
const [A, B] = [vectorDirectory('A'), vectorDirectory('B')]
const HELLO = utf8('hello')

async function fill({ blobs, directories, pathInfos }: Stores): Promise<void> {
  const writer = blobs.openWrite()
  await writer.write(HELLO)
  await writer.close()
  const putter = directories.startPutter()
  await putter.put(A)
  await putter.put(B)
  await putter.close()
  await pathInfos.put(makePathInfo('one'))
}

async function expectFilled({ blobs, directories, pathInfos }: Stores): Promise<void> {
  expect(Buffer.from((await readBlob(blobs, Digest.of(HELLO)))!).toString()).toBe('hello')
  expect((await directories.get(A.digest))?.digest.hex).toBe(A.digest.hex)
  expect((await directories.get(B.digest))?.digest.hex).toBe(B.digest.hex)
  expect((await pathInfos.get(makePathInfo('one').storePath.digest))?.storePath.name).toBe('path-one')
}

function local(folder: string) {
  return {
    blobs: `objectstore+file://${folder}/deep/blobs.object_store`,
    directories: `lmdb://${folder}/deeper/still/directories.lmdb`,
    pathInfos: `lmdb://${folder}/deeper/still/pathinfo.lmdb`,
  }
}

describe('open stores', () => {
  it.each([
    ['memory', MEMORY],
    [
      'object stores in memory',
      { blobs: 'objectstore+memory:///', directories: 'objectstore+memory:///', pathInfos: 'memory://' },
    ],
  ])('work in %s', async (_, addresses) => {
    await using stores = await openStores(addresses)
    await fill(stores)
    await expectFilled(stores)
    expect(stores.narCalculation).toBeUndefined()
  })

  it('keep what was stored for the next time, in folders that they create', async () => {
    await using dir = await tempDir()
    {
      await using stores = await openStores(local(dir.path))
      await fill(stores)
    }
    await using again = await openStores(local(dir.path))
    await expectFilled(again)
  })

  it('share a folder between blobs and directories', async () => {
    await using dir = await tempDir()
    const shared = `objectstore+file://${dir.path}/bucket`
    await using stores = await openStores({ blobs: shared, directories: shared, pathInfos: 'memory:' })
    await fill(stores)
    await expectFilled(stores)
    expect((await readdir(join(dir.path, 'bucket'))).toSorted()).toEqual(
      expect.arrayContaining(['blobs', 'chunks', 'directories', 'dirs']),
    )
  })

  it('verify what their backends hand out', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'x.lmdb')
    await using stores = await openStores({
      ...MEMORY,
      directories: `lmdb://${path}`,
      pathInfos: `lmdb://${path}`,
    })
    await using directories = await openLmdbTable(path, 'directory')
    await directories.put([{ key: A.digest.bytes, value: B.encoded }])
    await expect(stores.directories.get(A.digest)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`lmdb://${path}`),
    })
  })

  it('tell one address, or all three', async () => {
    await using same = await openStores(MEMORY)
    expect(same.describe).toBe('memory:')
    await using different = await openStores({ ...MEMORY, blobs: 'memory://' })
    expect(different.describe).toBe('blobs at memory://, directories at memory:, path infos at memory:')
  })

  it('open nothing when one address is malformed', async () => {
    await using dir = await tempDir()
    const addresses = { ...local(dir.path), pathInfos: 'lmdb:relative' }
    await expect(openStores(addresses)).rejects.toMatchObject({ code: 'invalid-argument' })
    expect(await readdir(dir.path)).toEqual([])
  })

  it('name address, path, reason and next step when one cannot be opened', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'file'), '')
    const addresses = { ...MEMORY, directories: `lmdb://${dir.path}/file/x.lmdb` }
    await expect(openStores(addresses)).rejects.toThrow(
      /^lmdb:.*\/file\/x\.lmdb: cannot open the database .*\/file\/x\.lmdb: .*; /,
    )
  })

  it('connect once for services at one address', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'socket')
    const connections: Socket[] = []
    const server = createServer((socket) => connections.push(socket)).listen(path)
    await once(server, 'listening')
    const address = `grpc+unix://${path}`
    const stores = await openStores({ blobs: address, directories: address, pathInfos: address })
    expect(stores.narCalculation).toBeDefined()
    const call = { signal: AbortSignal.timeout(500) }
    // The peer speaks no gRPC; that all three ask for it is what matters.
    await Promise.allSettled([
      stores.blobs.has(A.digest, call),
      stores.directories.get(A.digest, call),
      stores.pathInfos.get(new Uint8Array(20), call),
    ])
    await stores[Symbol.asyncDispose]()
    expect(connections).toHaveLength(1)
    for (const socket of connections) socket.destroy()
    server.close()
  })
})
