import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { parseBucketUrl } from '../../src/services/objects/bucket-address.ts'
import type { ObjectStore } from '../../src/services/objects/interface.ts'
import { openBucket } from '../../src/services/objects/open.ts'
import type { CloudServer } from '../support/cloud-servers.ts'
import { CLOUDS } from '../support/clouds.ts'
import { objectStoreSuite } from './object-store.ts'

for (const { name, server, prepare, url } of CLOUDS) {
  const startable = await server()
  if ('missing' in startable) {
    it.skip(`object store: ${name} (${startable.missing})`)
    continue
  }
  describe(`object store: ${name}`, () => {
    let running: CloudServer
    beforeAll(async () => {
      running = await startable.start()
      await prepare(running.port)
    })
    afterAll(() => running[Symbol.asyncDispose]())

    objectStoreSuite('at a prefix of its own', async () => {
      const store: ObjectStore & Disposable = await openBucket(
        parseBucketUrl(url(running.port, randomUUID())),
      )
      return { subject: store, [Symbol.asyncDispose]: async () => store[Symbol.dispose]() }
    })
  })
}
