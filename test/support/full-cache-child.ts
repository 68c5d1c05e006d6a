/**
 * Reads more blobs than the disk of the cache folder has room for: `node full-cache-child.ts <cache>`. Prints how many of the
 * last ones are kept.
 */
import { Digest } from '../../src/model/castore/digest.ts'
import { openDiskCache } from '../../src/services/blobs/disk-cache.ts'
import { memoryBlobService } from '../../src/services/blobs/memory.ts'
import { readBlob } from '../../src/services/blobs/read-blob.ts'
import { pseudoRandom } from './pseudo-random.ts'

const BLOBS = 100
const LAST = 10
const [, , path = ''] = process.argv
const far = { name: 'far', service: memoryBlobService() }
await using cache = await openDiskCache(far, { path, bytesMax: 1e9 })
const digests: Digest[] = []
for (let seed = 0; seed < BLOBS; seed++) {
  const contents = pseudoRandom(100_000, seed)
  const writer = far.service.openWrite()
  await writer.write(contents)
  const digest = await writer.close()
  const read = await readBlob(cache, digest)
  if (!read || !Digest.of(read).equals(digest)) throw new Error(`blob ${seed} was read wrong`)
  digests.push(digest)
  await cache.settled()
}
let kept = 0
for (const digest of digests.slice(-LAST)) {
  await using file = await cache.openLocalFile(digest)
  if (file) kept++
}
process.stdout.write(`${kept}\n`)
