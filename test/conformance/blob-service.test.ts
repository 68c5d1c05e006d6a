import { join } from 'node:path'
import type { BlobService } from '../../src/services/blobs/interface.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { openFileObjectStore } from '../../src/services/objects/file.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { tempDir } from '../support/temp-dir.ts'
import { type BlobServiceProperties, blobServiceSuite } from './blob-service.ts'
import { type Make, nothingToClean } from './suite.ts'

const backends: readonly [string, Make<BlobService>, BlobServiceProperties][] = [
  ['memory', nothingToClean(memoryBlobService), { chunks: 'whole' }],
  [
    'object store in memory',
    nothingToClean(() => objectStoreBlobService(memoryObjectStore())),
    { chunks: 'content-defined' },
  ],
  [
    'object store of files',
    async () => {
      const dir = await tempDir()
      return {
        subject: objectStoreBlobService(await openFileObjectStore(join(dir.path, 'store'))),
        [Symbol.asyncDispose]: () => dir[Symbol.asyncDispose](),
      }
    },
    { chunks: 'content-defined' },
  ],
]

for (const [name, make, properties] of backends) {
  blobServiceSuite(`blob service: ${name}`, make, properties)
  blobServiceSuite(`blob service: verifying over ${name}`, verifyingOver(make), properties)
}

function verifyingOver(make: Make<BlobService>): Make<BlobService> {
  return async () => {
    const made = await make()
    return {
      subject: verifyingBlobService(made.subject, 'the base'),
      [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    }
  }
}
