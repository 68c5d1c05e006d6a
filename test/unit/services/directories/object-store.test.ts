import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Directory } from '../../../../src/model/castore/directory.ts'
import { objectStoreDirectoryService } from '../../../../src/services/directories/object-store.ts'
import type { ObjectStore } from '../../../../src/services/objects/interface.ts'
import { memoryObjectStore } from '../../../../src/services/objects/memory.ts'
import { concatBytes } from '../../../../src/support/bytes.ts'
import {
  CLOSURE_FIRST_READ_BYTES,
  CLOSURE_MEMBER_BYTES_MAX,
  DIRECTORY_BYTES_MAX,
} from '../../../../src/support/limits.ts'
import { collect } from '../../../support/collect.ts'
import {
  directoryNode,
  fileNode,
  makeDirectory,
  symlinkNode,
  vectorDirectory,
} from '../../../support/directories.ts'
import { overriding } from '../../../support/overriding-objects.ts'
import { vectors } from '../../../support/vectors.ts'

const [A, B, D, E] = ['A', 'B', 'D', 'E'].map((name) => vectorDirectory(name)) as [
  Directory,
  Directory,
  Directory,
  Directory,
]

async function upload(objects: ObjectStore, closure: readonly Directory[]): Promise<void> {
  const putter = objectStoreDirectoryService(objects).startPutter()
  for (const directory of closure) await putter.put(directory)
  await putter.close()
}

async function keys(objects: ObjectStore): Promise<string[]> {
  return (await collect(objects.list(''))).toSorted()
}

function closureKey({ digest }: Directory): string {
  return `dirs/b3/${digest.hex.slice(0, 4)}/${digest.hex}`
}

function indexKey({ digest }: Directory): string {
  return `directories/b3/${digest.hex.slice(0, 4)}/${digest.hex}`
}

function frame(encoded: Uint8Array, length = encoded.length): Uint8Array {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(length)
  return concatBytes([head, encoded])
}

/** As the Rust implementation leaves it: the closure and no index. */
async function foreign(...directories: readonly Directory[]): Promise<ObjectStore> {
  return holding(directories[0]!, concatBytes(directories.map(({ encoded }) => frame(encoded))))
}

async function holding(root: Directory, plain: Uint8Array): Promise<ObjectStore> {
  const objects = memoryObjectStore()
  await objects.put(closureKey(root), zstdCompressSync(plain))
  return objects
}

async function recursive(objects: ObjectStore, root: Directory): Promise<string[]> {
  const found = await collect(objectStoreDirectoryService(objects).getRecursive(root.digest))
  return found.map(({ digest }) => digest.hex)
}

describe('directories in an object store', () => {
  for (const { root, key, decompressed_value_hex } of vectors.object_store_layout.directory_cases)
    it(`writes ${root} as the vectors have it`, async () => {
      const objects = memoryObjectStore()
      const name = /DIRECTORY_(\w+)/.exec(root)![1]!
      await upload(objects, name === 'A' ? [A] : [vectorDirectory('WITH_KEEP'), vectorDirectory(name)])
      const value = await objects.get(key)
      expect(zstdDecompressSync(value!).toString('hex')).toBe(decompressed_value_hex)
    })

  it('writes the closure from the root to the leaves, each directory once', async () => {
    const objects = memoryObjectStore()
    await upload(objects, [A, A, B, D, E])
    const plain = zstdDecompressSync((await objects.get(closureKey(E)))!)
    const expected = concatBytes([E, D, A, B].map(({ encoded }) => frame(encoded)))
    expect(plain.toString('hex')).toBe(Buffer.from(expected).toString('hex'))
  })

  it('writes an object for every directory but the root, before the closure', async () => {
    const base = memoryObjectStore()
    const order: string[] = []
    const objects = overriding(base, {
      put(key, body, call) {
        order.push(key)
        return base.put(key, body, call)
      },
    })
    await upload(objects, [A, B, D])
    expect(order.slice(0, -1).toSorted()).toEqual([indexKey(A), indexKey(B)].toSorted())
    expect(order.at(-1)).toBe(closureKey(D))
    expect(zstdDecompressSync((await objects.get(indexKey(B)))!)).toEqual(Buffer.from(B.encoded))
  })

  it('leaves nothing behind when an upload is refused', async () => {
    const objects = memoryObjectStore()
    await expect(upload(objects, [A, vectorDirectory('C'), B])).rejects.toMatchObject({
      code: 'invalid-argument',
    })
    expect(await keys(objects)).toEqual([])
  })

  it('adds the index to a closure that another program wrote', async () => {
    const objects = await foreign(D, A, B)
    const before = await objects.get(closureKey(D))
    const service = objectStoreDirectoryService(objects)
    expect(await service.get(B.digest)).toBeUndefined()
    await upload(objects, [A, B, D])
    expect((await service.get(B.digest))?.digest.hex).toBe(B.digest.hex)
    expect(await objects.get(closureKey(D))).toEqual(before)
  })

  it('reads a closure that another program wrote', async () => {
    const objects = await foreign(E, D, A, B)
    expect((await objectStoreDirectoryService(objects).get(E.digest))?.digest.hex).toBe(E.digest.hex)
    expect(await recursive(objects, E)).toEqual([E, D, A, B].map(({ digest }) => digest.hex))
  })

  it.each(['get', 'getRecursive'] as const)(
    'finds what is below the root of a closure that another program wrote, after %s of the root',
    async (method) => {
      const objects = await foreign(E, D, A, B)
      const service = objectStoreDirectoryService(objects)
      for (const inner of [D, A, B]) expect(await service.get(inner.digest)).toBeUndefined()
      if (method === 'get') await service.get(E.digest)
      else await collect(service.getRecursive(E.digest))
      for (const inner of [D, A, B])
        expect((await service.get(inner.digest))?.digest.hex).toBe(inner.digest.hex)
      const found = await collect(service.getRecursive(D.digest))
      expect(found.map(({ digest }) => digest.hex)).toEqual([D, A, B].map(({ digest }) => digest.hex))
      expect(await keys(objects)).toEqual([closureKey(E)])
    },
  )

  it('says that what a closure lacks is absent', async () => {
    const service = objectStoreDirectoryService(await foreign(E, A))
    await service.get(E.digest)
    expect(await service.get(D.digest)).toBeUndefined()
  })

  it('reads such a closure once for all that is asked for at the same time, and later not at all', async () => {
    const base = await foreign(D, A, B)
    let closures = 0
    const objects = overriding(base, {
      get(key, call) {
        if (key === closureKey(D)) closures++
        return base.get(key, call)
      },
    })
    const service = objectStoreDirectoryService(objects)
    await service.get(D.digest)
    await Promise.all([A, B].map(({ digest }) => service.get(digest)))
    await Promise.all([A, B].map(({ digest }) => service.get(digest)))
    expect(closures).toBe(2)
  })

  it('finds directories of a closure that is larger than what is kept', async () => {
    const long = symlinkNode('x'.repeat(4000))
    const many = Object.fromEntries(Array.from({ length: 512 }, (_, i) => [`link${i}`, long]))
    const leaves = Array.from({ length: 20 }, (_, i) => makeDirectory({ ...many, [`z${i}`]: long }))
    const root = makeDirectory(Object.fromEntries(leaves.map((leaf, i) => [`d${i}`, directoryNode(leaf)])))
    const size = leaves.reduce((sum, { encoded }) => sum + encoded.length, 0)
    expect(size).toBeGreaterThan(CLOSURE_MEMBER_BYTES_MAX)
    const service = objectStoreDirectoryService(await foreign(root, ...leaves))
    await service.get(root.digest)
    for (const leaf of [leaves[0]!, leaves[19]!, leaves[0]!])
      expect((await service.get(leaf.digest))?.digest.hex).toBe(leaf.digest.hex)
  })

  it('reads the root of a large closure without reading all of it', async () => {
    const leaves = Array.from({ length: 12_000 }, (_, i) => makeDirectory({ [`leaf${i}`]: fileNode(`${i}`) }))
    const root = makeDirectory(Object.fromEntries(leaves.map((leaf, i) => [`d${i}`, directoryNode(leaf)])))
    const small = makeDirectory({ d: directoryNode(root) })
    const base = await foreign(small, root, ...leaves)
    expect(await base.head(closureKey(small))).toBeGreaterThan(5 * CLOSURE_FIRST_READ_BYTES)
    let read = 0
    const objects = overriding(base, {
      async get(key, call) {
        const body = await base.get(key, call)
        read += body?.length ?? 0
        return body
      },
    })
    const got = await objectStoreDirectoryService(objects).get(small.digest)
    expect(got?.digest.hex).toBe(small.digest.hex)
    expect(read).toBe(CLOSURE_FIRST_READ_BYTES)
    expect(await recursive(base, small)).toHaveLength(12_002)
  })

  it('calls a broken closure corrupt', async () => {
    const frames = concatBytes([D, A, B].map(({ encoded }) => frame(encoded)))
    const broken = {
      'no zstd': { value: Buffer.from('not a zstd stream'), plain: undefined },
      'nothing at all': { value: new Uint8Array(0), plain: undefined },
      'a cut stream': { value: zstdCompressSync(frames).subarray(0, -5), plain: undefined },
      'a cut frame': { value: undefined, plain: frames.subarray(0, -5) },
      'a cut length': { value: undefined, plain: concatBytes([frames, Buffer.from([0, 0])]) },
      'no directory': { value: undefined, plain: frame(Buffer.from('\x0a\xff', 'latin1')) },
    }
    for (const [what, { value, plain }] of Object.entries(broken)) {
      const objects = memoryObjectStore()
      await objects.put(closureKey(D), value ?? zstdCompressSync(plain!))
      await expect(recursive(objects, D), what).rejects.toMatchObject({
        code: 'corrupt',
        message: expect.stringContaining(closureKey(D)),
      })
    }
  })

  it('reads no frame above the limit, whatever its length says', async () => {
    const objects = await holding(D, frame(D.encoded, DIRECTORY_BYTES_MAX + 1))
    await expect(recursive(objects, D)).rejects.toMatchObject({ code: 'exhausted' })
  })

  it('stops at the limit of a frame in a stream that unfolds without end', async () => {
    const bomb = Buffer.alloc(4 * DIRECTORY_BYTES_MAX)
    bomb.writeUInt32BE(DIRECTORY_BYTES_MAX - 8)
    const objects = await holding(D, bomb)
    await expect(recursive(objects, D)).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('calls a broken index entry corrupt', async () => {
    const objects = memoryObjectStore()
    await objects.put(indexKey(B), Buffer.from('garbage'))
    const got = objectStoreDirectoryService(objects).get(B.digest)
    await expect(got).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(indexKey(B)),
    })
  })
})
