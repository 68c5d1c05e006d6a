import { expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { createCastoreTree } from '../../../../src/mount/tree/castore-tree.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { verifyingBlobService } from '../../../../src/services/blobs/verifying.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import { pathInfoRootNodes } from '../../../../src/services/pathinfos/root-nodes.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { silentLogger } from '../../../../src/support/log.ts'
import { directoryNode, fileNode, makeDirectory } from '../../../support/directories.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { list, readAll, walk } from '../../../support/trees.ts'

test('a tree over the services as they are: listed, read, and corrupt contents refused', async () => {
  const base = memoryBlobService()
  const [directories, pathInfos] = [memoryDirectoryService(), memoryPathInfoService()]
  const writer = base.openWrite()
  await writer.write(utf8('contents'))
  await writer.close()
  const bin = makeDirectory({ file: fileNode('contents'), bad: fileNode('original') })
  const top = makeDirectory({ bin: directoryNode(bin) })
  for (const directory of [bin, top]) await directories.put(directory)
  const { storePath } = await pathInfos.put(makePathInfo('a', { node: directoryNode(top) }))
  const forged = Digest.of(utf8('original'))
  const forging = { ...base, chunks: base.chunks.bind(base), openRead: base.openRead.bind(base) }
  forging.openRead = (digest, call) =>
    base.openRead(digest.equals(forged) ? Digest.of(utf8('contents')) : digest, call)
  const tree = createCastoreTree({
    rootNodes: pathInfoRootNodes(pathInfos),
    blobs: verifyingBlobService(forging, 'memory:'),
    directories,
    listRoot: true,
    logger: silentLogger,
  })
  expect((await list(tree, 1, 10)).map(({ name }) => name)).toEqual([storePath.toString()])
  const { inode } = await walk(tree, `${storePath}/bin/file`)
  expect((await readAll(tree, inode, 3, 100)).toString()).toBe('tents')
  const bad = await walk(tree, `${storePath}/bin/bad`)
  await expect(async () => tree.read(bad.inode, 0, 100)).rejects.toMatchObject({
    code: 'corrupt',
    message: expect.stringContaining(storePath.toString()),
  })
})
