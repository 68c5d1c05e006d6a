/**
 * Reads an object of a bucket again and again, for tests of what a process must be started with, as certificates.
 * Arguments: address and how often. Prints a line for each read: its size, or code and message.
 */
import { parseBucketUrl } from '../../src/services/objects/bucket-address.ts'
import { openBucket } from '../../src/services/objects/open.ts'
import { StoreError } from '../../src/support/errors.ts'

const [url = '', times = '1'] = process.argv.slice(2)

try {
  using objects = await openBucket(parseBucketUrl(url), { retryMs: [], silenceMsMax: 20_000 })
  for (let i = 0; i < Number(times); i++) console.log(await attempt(async () => await objects.get('k')))
} catch (error) {
  console.log(StoreError.from(error).message)
}

async function attempt(read: () => Promise<Uint8Array | undefined>): Promise<string> {
  try {
    return `read ${(await read())?.length}`
  } catch (error) {
    const { code, message } = StoreError.from(error)
    return `${code} ${message.replaceAll('\n', ' ')}`
  }
}
