import { describe, expect, it } from 'vitest'
import type { Digest } from '../../../../src/model/castore/digest.ts'
import type { Directory } from '../../../../src/model/castore/directory.ts'
import { traverse } from '../../../../src/services/directories/traverse.ts'
import type { Call } from '../../../../src/support/call.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { DIRECTORY_LOADS_MAX } from '../../../../src/support/limits.ts'
import { directoryNode, leaf, makeDirectory, vectorDirectory } from '../../../support/directories.ts'

const children = Array.from({ length: 2 * DIRECTORY_LOADS_MAX }, (_, i) => leaf(`child ${i}`))
const root = makeDirectory(
  Object.fromEntries(children.map((child, i) => [`d${String(i).padStart(3, '0')}`, directoryNode(child)])),
)
const stored = new Map([root, ...children].map((directory) => [directory.digest.key, directory]))

async function collect(items: AsyncIterable<Directory>): Promise<string[]> {
  const digests: string[] = []
  for await (const { digest } of items) digests.push(digest.hex)
  return digests
}

describe('traverse', () => {
  it('loads ahead, but never more than the limit, and yields in order all the same', async () => {
    let loading = 0
    let most = 0
    const load = async (digest: Digest) => {
      most = Math.max(most, ++loading)
      // Later children answer sooner.
      for (let turns = 100 - (digest.bytes[0]! % 100); turns > 0; turns--) await undefined
      loading--
      return stored.get(digest.key)
    }
    const expected = [root, ...children].map(({ digest }) => digest.hex)
    expect(await collect(traverse(root.digest, load, 'test'))).toEqual(expected)
    expect(most).toBe(DIRECTORY_LOADS_MAX)
  })

  it('yields nothing when the root is absent', async () => {
    expect(await collect(traverse(root.digest, async () => undefined, 'test'))).toEqual([])
  })

  it('names parent, child and source when a child is missing', async () => {
    const d = vectorDirectory('D')
    const load = async (digest: Digest) => (digest.equals(d.digest) ? d : undefined)
    const failure = collect(traverse(d.digest, load, 'the source'))
    await expect(failure).rejects.toMatchObject({ code: 'corrupt' })
    await expect(failure).rejects.toThrow(
      `the source: directory ${vectorDirectory('A').digest} is missing, although ${d.digest} refers to it as "a"`,
    )
  })

  it('passes a failure on instead of calling the directory absent', async () => {
    const load = async (digest: Digest) => {
      if (!digest.equals(root.digest)) throw new StoreError('unavailable', 'no connection')
      return root
    }
    await expect(collect(traverse(root.digest, load, 'test'))).rejects.toMatchObject({
      code: 'unavailable',
    })
  })

  it('aborts and awaits the loads ahead when its consumer leaves', async () => {
    let open = 0
    const load = async (digest: Digest, { signal }: Call) => {
      if (digest.equals(root.digest)) return root
      open++
      await new Promise<void>((resolve) => signal!.addEventListener('abort', () => resolve()))
      open--
      throw StoreError.from(signal!.reason)
    }
    for await (const _ of traverse(root.digest, load, 'test')) break
    expect(open).toBe(0)
  })

  it('ends with the abort of its caller although a load never answers', async () => {
    const controller = new AbortController()
    const load = (digest: Digest, { signal }: Call): Promise<Directory | undefined> => {
      if (digest.equals(root.digest)) return Promise.resolve(root)
      queueMicrotask(() => controller.abort(new StoreError('cancelled', 'enough')))
      return new Promise((_, reject) => signal!.addEventListener('abort', () => reject(signal!.reason)))
    }
    const walk = collect(traverse(root.digest, load, 'test', { signal: controller.signal }))
    await expect(walk).rejects.toMatchObject({ code: 'cancelled', message: 'enough' })
  })
})
