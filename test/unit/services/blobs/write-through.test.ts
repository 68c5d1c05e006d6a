import { expect, it } from 'vitest'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { readOnlyBlobService } from '../../../../src/services/blobs/read-only.ts'
import { writeThroughBlobService } from '../../../../src/services/blobs/write-through.ts'

it('counts what far has, also when near takes no writes at all', async () => {
  const failures: unknown[] = []
  const far = { name: 'far', service: memoryBlobService() }
  const near = { name: 'near', service: readOnlyBlobService(memoryBlobService(), 'near') }
  const both = writeThroughBlobService(far.service, near, far, {
    failed: (source, error) => failures.push([source.name, error]),
  })
  const writer = both.openWrite()
  await writer.write(Buffer.from('bytes'))
  const digest = await writer.close()
  expect(await far.service.has(digest)).toBe(true)
  expect(failures).toMatchObject([['near', { code: expect.any(String) }]])
})
