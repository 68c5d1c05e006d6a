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

    describe('object store', () => {
      const open = (prefix: string) => openBucket(parseBucketUrl(cloud.url(running.port, prefix)))

      it('gives back an object that takes several requests, which nobody sees before it is whole', async () => {
        using objects = await open(randomUUID())
        const body = pseudoRandom(BUCKET_PUT_BYTES_MAX + 1, 1)
        const put = objects.put('large', body, { ifAbsent: true })
        expect([undefined, body.length]).toContain(await objects.head('large'))
        await put
        expect(Buffer.compare((await objects.get('large')) ?? Buffer.of(), body)).toBe(0)
        await objects.put('large', Buffer.alloc(body.length), { ifAbsent: true })
        const range = { start: body.length - 9, end: body.length }
        expect(await objects.get('large', { range })).toEqual(new Uint8Array(body.subarray(-9)))
        await objects.put('large', Buffer.of(1))
        expect(await objects.get('large')).toEqual(Uint8Array.of(1))
      })

      it.each([
        ...[
          'with a blank',
          '+',
          '%',
          '&amp;',
          'é\u{1f600}',
          "it's(1)*!~",
          'a/b',
          'a=b@c:d;e,f',
          '[x]{y}|^`"<z>',
          '?x#y',
        ],
      ])('keeps what is below %j', async (name) => {
        const prefix = `${randomUUID()}/${name.split('/').map(encodeURIComponent).join('/')}`
        using objects = await open(prefix)
        for (const key of ['blobs/b3/x', 'top']) await objects.put(key, Buffer.of(1), { ifAbsent: true })
        expect((await collect(objects.list(''))).sort()).toEqual(['blobs/b3/x', 'top'])
        // Twice: the first read of S3 is another way than the others.
        for (let i = 0; i < 2; i++) expect(await objects.get('top')).toEqual(Uint8Array.of(1))
        expect(await objects.get('blobs')).toBeUndefined()
        await objects.delete('top')
        expect(await objects.head('top')).toBeUndefined()
      })

      it('lists more objects than fit on one page', async () => {
        using objects = await open(randomUUID())
        const keys = Array.from({ length: 1_100 }, (_, index) => `a/${index % 3}/${index}`)
        await Promise.all(keys.map((key) => objects.put(key, Buffer.of(1))))
        expect((await collect(objects.list('a/'))).sort()).toEqual(keys.sort())
      })

      for (const [title, wrong] of Object.entries(cloud.wrong))
        it(`refuses ${title}, and does not call it empty`, async () => {
          using objects = await openBucket(parseBucketUrl(wrong.url(running.port)))
          const failure = { code: wrong.code, message: expect.stringContaining(objects.name) }
          await expect(objects.get('k')).rejects.toMatchObject(failure)
          await expect(objects.head('k')).rejects.toMatchObject(failure)
          await expect(objects.put('k', Buffer.of(1))).rejects.toMatchObject(failure)
          await expect(collect(objects.list(''))).rejects.toMatchObject(failure)
        })
    })

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
