import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { objectStoreDirectoryService } from '../../src/services/directories/object-store.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { parseBucketUrl } from '../../src/services/objects/bucket-address.ts'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { openBucket } from '../../src/services/objects/open.ts'
import { BUCKET_PUT_BYTES_MAX } from '../../src/support/limits.ts'
import type { CloudServer } from '../support/cloud-servers.ts'
import type { Cloud } from '../support/clouds.ts'
import { collect } from '../support/collect.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { blobServiceSuite } from './blob-service.ts'
import { directoryServiceSuite } from './directory-service.ts'
import { objectStoreSuite } from './object-store.ts'
import type { Make } from './suite.ts'

/** All suites that run on a bucket, each case at a prefix of its own in one bucket of one server. */
export async function cloudSuites(cloud: Cloud): Promise<void> {
  const startable = await cloud.server()
  // Counted among the skipped, with the reason.
  if ('missing' in startable) return it.skip(`${cloud.name}: ${startable.missing}`)
  describe(cloud.name, () => {
    let running: CloudServer
    beforeAll(async () => {
      running = await startable.start()
      await cloud.prepare(running.port)
    })
    afterAll(() => running[Symbol.asyncDispose]())

    function on<S>(service: (objects: ObjectStore) => S): Make<S> {
      return async () => {
        const objects = await openBucket(parseBucketUrl(cloud.url(running.port, randomUUID())))
        return { subject: service(objects), [Symbol.asyncDispose]: async () => objects[Symbol.dispose]() }
      }
    }

    objectStoreSuite(
      'object store',
      on((objects) => objects),
    )
    blobServiceSuite(
      'blob service: verifying over an object store',
      on((objects) => verifyingBlobService(objectStoreBlobService(objects), objects.name)),
      { chunks: 'content-defined' },
    )
    directoryServiceSuite(
      'directory service: verifying over an object store',
      on((objects) => verifyingDirectoryService(objectStoreDirectoryService(objects), objects.name)),
      { singlePuts: 'leaves' },
    )
  })
}
