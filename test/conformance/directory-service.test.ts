import { join } from 'node:path'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { openLmdbDirectoryService } from '../../src/services/directories/lmdb.ts'
import { memoryDirectoryService } from '../../src/services/directories/memory.ts'
import { objectStoreDirectoryService } from '../../src/services/directories/object-store.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { openFileObjectStore } from '../../src/services/objects/file.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type DirectoryServiceProperties, directoryServiceSuite } from './directory-service.ts'
import { type Make, nothingToClean } from './suite.ts'

const backends: readonly [string, Make<DirectoryService>, DirectoryServiceProperties][] = [
  ['memory', nothingToClean(memoryDirectoryService), { singlePuts: 'any' }],
  ['LMDB', makeLmdb, { singlePuts: 'any' }],
  [
    'object store in memory',
    nothingToClean(() => objectStoreDirectoryService(memoryObjectStore())),
    { singlePuts: 'leaves' },
  ],
  ['object store of files', makeObjectFiles, { singlePuts: 'leaves' }],
]

for (const [name, make, properties] of backends) {
  directoryServiceSuite(`directory service: ${name}`, make, properties)
  directoryServiceSuite(`directory service: verifying over ${name}`, verifyingOver(make), properties)
}

async function makeLmdb() {
  const dir = await tempDir()
  const subject = await openLmdbDirectoryService(join(dir.path, 'directories.lmdb'))
  return {
    subject,
    async [Symbol.asyncDispose]() {
      await subject[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

async function makeObjectFiles() {
  const dir = await tempDir()
  return {
    subject: objectStoreDirectoryService(await openFileObjectStore(join(dir.path, 'store'))),
    [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
  }
}

function verifyingOver(make: Make<DirectoryService>): Make<DirectoryService> {
  return async () => {
    const made = await make()
    return {
      subject: verifyingDirectoryService(made.subject, 'the base'),
      [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    }
  }
}
