import { afterEach, describe, expect, test, vi } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { openStores, type Stores } from '../../../../src/services/composition/open-stores.ts'
import { openReloadableStores } from '../../../../src/services/composition/reloadable-stores.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { RELOAD_LINGER_MS_MAX } from '../../../../src/support/limits.ts'
import { collect } from '../../../support/collect.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'

const MEMORY = { blobs: 'memory:', directories: 'memory:', pathInfos: 'memory:' }
const BLOB = pseudoRandom(1_000_000, 1)

/** Each opening has the one blob if `hasBlob` says so; `events` tells what is opened and closed. */
function openings(hasBlob: (opening: number) => boolean) {
  const events: string[] = []
  let count = 0
  const open = async (): Promise<Stores> => {
    const opening = ++count
    events.push(`open ${opening}`)
    const stores = await openStores(MEMORY)
    if (hasBlob(opening)) {
      const writer = stores.blobs.openWrite()
      await writer.write(BLOB)
      await writer.close()
    }
    return {
      ...stores,
      async [Symbol.asyncDispose]() {
        events.push(`close ${opening}`)
        await stores[Symbol.asyncDispose]()
      },
    }
  }
  return { open, events }
}

afterEach(() => {
  vi.useRealTimers()
})

describe('stores that are opened anew', () => {
  const digest = Digest.of(BLOB)

  test('are turned to, and the old ones closed', async () => {
    const { open, events } = openings((opening) => opening === 2)
    await using stores = await openReloadableStores(open)
    expect(await stores.blobs.chunks(digest)).toBeUndefined()
    await stores.reload()
    expect(await stores.blobs.chunks(digest)).toEqual([])
    await expect.poll(() => events).toEqual(['open 1', 'open 2', 'close 1'])
  })

  test('let who reads from the old ones finish', async () => {
    const { open, events } = openings((opening) => opening === 1)
    await using stores = await openReloadableStores(open)
    const reader = (await stores.blobs.openRead(digest))![Symbol.asyncIterator]()
    const pieces = [(await reader.next()).value as Uint8Array]
    await stores.reload()
    expect(await stores.blobs.openRead(digest)).toBeUndefined()
    expect(events).toEqual(['open 1', 'open 2'])
    pieces.push(...(await collect({ [Symbol.asyncIterator]: () => reader })))
    expect(Buffer.compare(Buffer.concat(pieces), BLOB)).toBe(0)
    await expect.poll(() => events).toEqual(['open 1', 'open 2', 'close 1'])
  })

  test('do not wait for a reader who never ends', async () => {
    const { open, events } = openings(() => true)
    await using stores = await openReloadableStores(open)
    await (await stores.blobs.openRead(digest))![Symbol.asyncIterator]().next()
    vi.useFakeTimers()
    await stores.reload()
    await vi.advanceTimersByTimeAsync(RELOAD_LINGER_MS_MAX - 1)
    expect(events).toEqual(['open 1', 'open 2'])
    await vi.advanceTimersByTimeAsync(1)
    expect(events).toEqual(['open 1', 'open 2', 'close 1'])
  })

  test('stay what they were when they cannot be opened', async () => {
    const { open, events } = openings(() => true)
    let mayOpen = true
    await using stores = await openReloadableStores(async () => {
      if (!mayOpen) throw new StoreError('invalid-argument', 'nonsense in line 3')
      return await open()
    })
    mayOpen = false
    await expect(stores.reload()).rejects.toMatchObject({ message: 'nonsense in line 3' })
    expect(await stores.blobs.chunks(digest)).toEqual([])
    expect(events).toEqual(['open 1'])
  })
})
