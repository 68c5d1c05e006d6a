import { expect, test } from 'vitest'
import { renderStats } from '../../../src/cli/mount-stats.ts'
import { createMountStats } from '../../../src/mount/tree/stats.ts'

const sources = { failures: { 's3://bucket/': 3 }, hedges: 2 }
const kernel = {
  requests: { READ: 3, LOOKUP: 1 },
  errors: {},
  bytesRead: 4096,
  lookedMs: 7,
  filled: { files: 5, bytes: 600, failed: 1 },
}

test('as text: what the kernel asked, then a table of what the store gave', () => {
  const store = createMountStats()
  store.chunks.fetched = 2
  store.chunks.fetchedBytes = 262144
  const text = renderStats('text', kernel, store, sources)
  expect(text).toContain('from the kernel: 3 READ, 1 LOOKUP; 4096 bytes read; 7 ms of looking')
  expect(text).toContain('errors: none')
  expect(text).toContain('pushed to the kernel: 5 files, 600 bytes; 1 failed')
  expect(text).toMatch(/^chunks .* 2 +262144 /m)
  expect(text).toContain('made up for: 3 s3://bucket/; 2 questions went to a second')
  expect(text.endsWith('\n')).toBe(true)
})

test('as JSON: one line', () => {
  const text = renderStats('json', kernel, createMountStats(), sources)
  expect(text.split('\n')).toHaveLength(2)
  expect(JSON.parse(text)).toMatchObject({ kernel, store: { chunks: { fetched: 0 } }, sources })
})
