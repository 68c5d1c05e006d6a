/** Reads all blobs of a store through a cache folder: `node disk-cache-child.ts <far> <cache> <seed>`. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Digest } from '../../src/model/castore/digest.ts'
import { openDiskCache } from '../../src/services/blobs/disk-cache.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { openFileObjectStore } from '../../src/services/objects/file.ts'

const [, , farPath = '', cachePath = '', seed = '0'] = process.argv
const objects = objectStoreBlobService(await openFileObjectStore(farPath))
const far = { name: 'far', service: verifyingBlobService(objects, 'far') }
/** With nothing wrong there is nothing to survive. */
const faults = {
  failed: (_: unknown, error: unknown) => process.stderr.write(`${(error as Error).stack}\n`),
}
const cache = await openDiskCache(far, { path: cachePath, bytesMax: 1e9, faults })
const digests = (await readFile(join(farPath, 'digests'), 'utf8')).split('\n')

for (let i = 0; i < digests.length; i++) {
  const hex = digests[(i + Number(seed)) % digests.length]!
  for (const { digest, size } of (await cache.chunks(Digest.fromBytes(Buffer.from(hex, 'hex'))))!) {
    const chunk = await readBlob(cache, digest, size)
    if (!chunk || !Digest.of(chunk).equals(digest)) throw new Error(`blob ${hex}: wrong chunk ${digest}`)
  }
}
await cache.settled()
process.stdout.write('all right\n')
