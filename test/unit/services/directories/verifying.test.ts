import { describe, expect, it } from 'vitest'
import { Directory } from '../../../../src/model/castore/directory.ts'
import type { DirectoryService } from '../../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import { verifyingDirectoryService } from '../../../../src/services/directories/verifying.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { CLOSURE_DIRECTORIES_MAX } from '../../../../src/support/limits.ts'
import { vectorDirectory } from '../../../support/directories.ts'

const EMPTY = Directory.from([])

const [A, B, C, D] = ['A', 'B', 'C', 'D'].map((name) => vectorDirectory(name)) as [
  Directory,
  Directory,
  Directory,
  Directory,
]

/** A service that answers every question the same way. */
function answering(answers: Partial<DirectoryService>): DirectoryService {
  return verifyingDirectoryService(
    { ...memoryDirectoryService(), ...answers } as DirectoryService,
    'the peer',
  )
}

function streaming(directories: readonly Directory[]): DirectoryService {
  return answering({
    async *getRecursive() {
      yield* directories
    },
  })
}

async function collect(items: AsyncIterable<Directory>): Promise<Directory[]> {
  const found: Directory[] = []
  for await (const directory of items) found.push(directory)
  return found
}

describe('verifying directories', () => {
  it('refuses another directory than the one asked for', async () => {
    const service = answering({ get: async () => B })
    await expect(service.get(A.digest)).rejects.toMatchObject({
      code: 'corrupt',
      message: `the peer: asked for directory ${A.digest}, but got ${B.digest}`,
    })
  })

  it('passes absence on', async () => {
    const service = answering({ get: async () => undefined })
    expect(await service.get(A.digest)).toBeUndefined()
    expect(await collect(streaming([]).getRecursive(A.digest))).toEqual([])
  })

  it('releases a closure without its duplicates', async () => {
    expect(await collect(streaming([C, A, A]).getRecursive(C.digest))).toEqual([C, A])
  })

  it.each([
    ['another root', [C, A]],
    ['a directory that nothing refers to', [D, A, B, C]],
    ['a child before its parent', [A, D, B]],
    ['a missing leaf', [D, B]],
    ['a missing inner directory', [D, A]],
  ])('calls a closure with %s corrupt', async (_, stream) => {
    await expect(collect(streaming(stream).getRecursive(D.digest))).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('the peer'),
    })
  })

  it('calls a wrong size corrupt, and never releases the child', async () => {
    const broken = vectorDirectory('BROKEN_PARENT_DIRECTORY')
    const released: Directory[] = []
    const read = async () => {
      for await (const directory of streaming([broken, A]).getRecursive(broken.digest))
        released.push(directory)
    }
    await expect(read()).rejects.toMatchObject({ code: 'corrupt' })
    expect(released).toEqual([broken])
  })

  it('passes failures on as they are', async () => {
    const service = answering({
      // biome-ignore lint/correctness/useYield: it fails before it yields
      async *getRecursive() {
        throw new StoreError('unavailable', 'no connection')
      },
    })
    await expect(collect(service.getRecursive(A.digest))).rejects.toMatchObject({ code: 'unavailable' })
  })

  it('refuses another digest for what it stored', async () => {
    const lying = answering({
      put: async () => EMPTY.digest,
      startPutter: () => ({ put: async () => {}, close: async () => EMPTY.digest }),
    })
    await expect(lying.put(B)).rejects.toMatchObject({ code: 'corrupt' })
    const putter = lying.startPutter()
    await putter.put(A)
    await putter.put(B)
    await putter.put(A)
    await expect(putter.close()).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('refuses success for an upload of nothing', async () => {
    const lying = answering({
      startPutter: () => ({ put: async () => {}, close: async () => A.digest }),
    })
    await expect(lying.startPutter().close()).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('ends a closure that repeats a directory for ever', async () => {
    let sent = 0
    const service = answering({
      async *getRecursive() {
        for (;;) {
          sent++
          yield A
        }
      },
    })
    const found: Directory[] = []
    const drain = async () => {
      for await (const directory of service.getRecursive(A.digest)) found.push(directory)
    }
    await expect(drain()).rejects.toMatchObject({ code: 'exhausted' })
    expect(found).toEqual([A])
    expect(sent).toBe(CLOSURE_DIRECTORIES_MAX + 2)
  })
})
