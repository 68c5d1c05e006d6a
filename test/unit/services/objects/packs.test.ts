import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs/promises'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import type { NewObject } from '../../../../src/services/objects/interface.ts'
import { openPackedObjectStore, type PackedObjects } from '../../../../src/services/objects/packs.ts'
import { decodeKey, encodedPrefixes, encodeKey } from '../../../../src/services/objects/packs-key.ts'
import { nodePacksOps as openPacksOps, type PacksOps } from '../../../../src/services/objects/packs-ops.ts'
import { layOutRecords } from '../../../../src/services/objects/packs-records.ts'
import { collect } from '../../../support/collect.ts'
import { type FoundRecord, readPacks } from '../../../support/pack-reader.ts'
import { pseudoRandom } from '../../../support/pseudo-random.ts'
import { CAN_MOUNT } from '../../../support/requirements.ts'
import { tempDir } from '../../../support/temp-dir.ts'
import { bodyOf } from './kill-body.ts'

const nodePacksOps = await openPacksOps()
const { addon } = nodePacksOps
const HEX = 'af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f32'
const KEYS = Array.from({ length: 100 }, (_, i) => `chunks/b3/af13/${HEX}${i.toString(16).padStart(2, '0')}`)
const OBJECTS: readonly NewObject[] = KEYS.map((key, i) => ({
  key,
  body: i % 3 === 0 ? Buffer.alloc(5_000, key) : bodyOf(key).subarray(0, 30_000),
}))
const EMPTY = KEYS.map((key) => ({ key: key.replace('chunks', 'blobs'), body: new Uint8Array(0) }))

function contentsByKey(records: readonly FoundRecord[]): Map<string, Buffer> {
  return new Map(records.map(({ key, contents }) => [key, contents]))
}

async function packFiles(root: string): Promise<string[]> {
  return (await fs.readdir(join(root, 'packs'))).sort()
}

function eio(): Error {
  return Object.assign(new Error('EIO: injected'), { code: 'EIO' })
}

/** With the addon and without: what is stored is to be the same. */
const WAYS: Readonly<Record<string, PacksOps>> = {
  'by the addon': nodePacksOps,
  'without the addon': { ...nodePacksOps, addon: undefined },
}

describe.each(Object.entries(WAYS).filter(([, ops]) => addon || !ops.addon))('packs, %s,', (_, ops) => {
  it('hold every object, for a reader that knows nothing but the format', async () => {
    await using dir = await tempDir()
    {
      await using store = await openPackedObjectStore(dir.path, { ops })
      expect((await store.putMany(OBJECTS, { zstd: true })).filter(Boolean)).toEqual([])
      expect((await store.putMany(EMPTY)).filter(Boolean)).toEqual([])
      await store.put('other/key', OBJECTS[1]!.body)
    }
    const found = contentsByKey(readPacks(dir.path))
    expect(found.size).toBe(OBJECTS.length + 1)
    expect(found.get('other/key')).toEqual(Buffer.from(OBJECTS[1]!.body))
    for (const { key, body } of OBJECTS)
      expect(Buffer.compare(zstdDecompressSync(found.get(key)!), body), key).toBe(0)
    await using again = await openPackedObjectStore(dir.path, { ops })
    for (const { key, body } of OBJECTS)
      expect(Buffer.compare(zstdDecompressSync((await again.get(key))!), body), key).toBe(0)
    for (const { key } of EMPTY) expect(await again.head(key)).toBe(0)
  })

  it('leave objects as they are that are there, and store nothing twice', async () => {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path, { ops })
    await store.put(KEYS[5]!, Buffer.from('first'))
    await store.putMany([...OBJECTS, ...OBJECTS], { zstd: true })
    const [before] = await Promise.all(
      (await packFiles(dir.path)).map((name) => fs.stat(join(dir.path, 'packs', name))),
    )
    await store.putMany(OBJECTS, { zstd: true })
    expect((await fs.stat(join(dir.path, 'packs', (await packFiles(dir.path))[0]!))).size).toBe(before!.size)
    expect(Buffer.from((await store.get(KEYS[5]!))!).toString()).toBe('first')
    expect(await collect(store.list('chunks/b3/af13/'))).toHaveLength(KEYS.length)
  })

  it('are several when one is full, each up to its limit', async () => {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path, { ops, packBytesMax: 100_000 })
    for (const { key, body } of OBJECTS.slice(0, 30)) await store.put(key, body)
    const names = await packFiles(dir.path)
    expect(names.length).toBeGreaterThan(3)
    for (const name of names)
      expect((await fs.stat(join(dir.path, 'packs', name))).size).toBeLessThanOrEqual(100_000)
    for (const { key, body } of OBJECTS.slice(0, 30))
      expect(Buffer.compare((await store.get(key))!, body), key).toBe(0)
    const found = contentsByKey(readPacks(dir.path))
    expect(found.size).toBe(30)
  })

  it('take an object that is larger than a pack may be', async () => {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path, { ops, packBytesMax: 1_000 })
    const large = pseudoRandom(200_000, 4)
    await store.put('large', large)
    await store.put('small', Uint8Array.of(1))
    expect(Buffer.compare((await store.get('large'))!, large)).toBe(0)
    expect(await packFiles(dir.path)).toHaveLength(2)
  })

  it('are not begun for somebody who has left, nor under names that are no keys', async () => {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path, { ops })
    await expect(store.putMany(OBJECTS, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'cancelled',
    })
    const escaping = [...OBJECTS, { key: '../outside', body: Buffer.from('x') }]
    await expect(store.putMany(escaping)).rejects.toMatchObject({ code: 'internal' })
    await expect(store.put(`${'long/'.repeat(300)}key`, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'internal',
    })
    expect(await collect(store.list(''))).toEqual([])
  })
})

describe.skipIf(!addon)('the addon', () => {
  it('lays out what JavaScript does, but for what zstd makes of it', async () => {
    const records = OBJECTS.map(({ key, body }) => ({ key: encodeKey(key), body, isZstd: false }))
    const expected = await layOutRecords(records, 0xfeedbeef)
    const found = await addon!.layOut(records, 0xfeedbeef, 3)
    expect(Buffer.compare(found.bytes, expected.bytes)).toBe(0)
    expect(found.places).toEqual(expected.places)
  })

  it('stores noise in raw blocks, as JavaScript does, at every size', async () => {
    for (const size of [16_385, 131_071, 131_072, 131_073, 262_144, 400_000]) {
      const records = [{ key: encodeKey(KEYS[0]!), body: pseudoRandom(size, size), isZstd: true }]
      const [expected, found] = [await layOutRecords(records, 1), await addon!.layOut(records, 1, 3)]
      expect(Buffer.compare(found.bytes, expected.bytes), `${size} bytes`).toBe(0)
    }
  })

  it('computes the checksum of zlib, of every length', async () => {
    const records = Array.from({ length: 700 }, (_, size) => ({
      key: Buffer.from(`key ${size}`),
      body: pseudoRandom(size, size),
      isZstd: false,
    }))
    for (const salt of [0, 1, 0xffffffff, 0x89abcdef]) {
      const [expected, found] = [await layOutRecords(records, salt), await addon!.layOut(records, salt, 3)]
      expect(Buffer.compare(found.bytes, expected.bytes), `salt ${salt}`).toBe(0)
    }
  })

  it('tells who has a file locked', async () => {
    await using dir = await tempDir()
    const [one, two] = [
      nodePacksOps.open(join(dir.path, 'x'), 'w'),
      nodePacksOps.open(join(dir.path, 'x'), 'r'),
    ]
    expect(addon!.lock(one)).toBe(true)
    expect(addon!.lock(two)).toBe(false)
    nodePacksOps.close(one)
    expect(addon!.lock(two)).toBe(true)
    nodePacksOps.close(two)
    expect(() => addon!.lock(two)).toThrow('EBADF')
  })
})

/** Chunks of a large blob: bulk, which is written past the page cache. */
const BULK: readonly NewObject[] = KEYS.slice(0, 24).map((key, i) => ({
  key,
  body: pseudoRandom(180_000 + i, i),
}))

const BULK_ELSEWHERE = BULK.map(({ key, body }) => ({ key: key.replaceAll('af13', 'af14'), body }))

describe.skipIf(!addon)('chunks of large blobs', () => {
  /** What a file system says that has no way past the page cache. */
  const refused = Object.assign(new Error('EINVAL: injected'), { code: 'EINVAL' })

  async function storeMixed(root: string, ops: PacksOps): Promise<void> {
    await using store = await openPackedObjectStore(root, { ops })
    expect((await store.putMany(OBJECTS.slice(24, 50), { zstd: true })).filter(Boolean)).toEqual([])
    expect((await store.putMany(BULK.slice(0, 12), { zstd: true })).filter(Boolean)).toEqual([])
    expect((await store.putMany(OBJECTS.slice(50), { zstd: true })).filter(Boolean)).toEqual([])
    expect((await store.putMany(BULK.slice(12), { zstd: true })).filter(Boolean)).toEqual([])
  }

  async function expectMixed(root: string): Promise<void> {
    const found = contentsByKey(readPacks(root))
    await using store = await openPackedObjectStore(root)
    for (const { key, body } of [...BULK, ...OBJECTS.slice(24)]) {
      expect(Buffer.compare(zstdDecompressSync(found.get(key)!), body), key).toBe(0)
      expect(Buffer.compare(zstdDecompressSync((await store.get(key))!), body), key).toBe(0)
    }
  }

  it('lie in whole pages between what is small, for every reader', async () => {
    await using dir = await tempDir()
    await storeMixed(dir.path, nodePacksOps)
    await expectMixed(dir.path)
    const bulk = new Set(BULK.map(({ key }) => key))
    const first = readPacks(dir.path).find(({ key }) => bulk.has(key))!
    expect((first.offset - 16 - encodeKey(first.key).length) % 4096).toBe(0)
  })

  /** `write` gets to know whether it goes past the page cache. */
  function opsWhere(
    write: (isPast: boolean, bytes: Uint8Array) => Uint8Array,
    canOpen = true,
  ): { readonly ops: PacksOps; readonly past: () => number } {
    const pastCache = new Set<number>()
    let bytesPast = 0
    const ops: PacksOps = {
      ...nodePacksOps,
      open(path, flags) {
        if (typeof flags === 'number' && !canOpen) throw refused
        const fd = nodePacksOps.open(path, flags)
        if (typeof flags === 'number') pastCache.add(fd)
        return fd
      },
      async write(fd, bytes, position) {
        const isPast = pastCache.has(fd)
        const written = await nodePacksOps.write(fd, write(isPast, bytes), position)
        if (isPast) bytesPast += written
        return written
      },
      close(fd) {
        pastCache.delete(fd)
        nodePacksOps.close(fd)
      },
    }
    return { ops, past: () => bytesPast }
  }

  it('go past the page cache, and nothing else does', async () => {
    await using dir = await tempDir()
    const { ops, past } = opsWhere((_, bytes) => bytes)
    await storeMixed(dir.path, ops)
    const bulkBytes = BULK.reduce((sum, { body }) => sum + body.length, 0)
    expect(past()).toBeGreaterThan(bulkBytes)
    expect(past()).toBeLessThan(bulkBytes * 1.01)
    await expectMixed(dir.path)
  })

  it.each<[string, { readonly ops: PacksOps }]>([
    ['to open such files', opsWhere((_, bytes) => bytes, false)],
    [
      'pages of that size',
      opsWhere((isPast, bytes) => {
        if (isPast) throw refused
        return bytes
      }),
    ],
    ['to go on behind a part of a page', opsWhere((_, bytes) => bytes.subarray(0, 1_000_001))],
  ])('are stored all the same where the file system refuses %s', async (_, { ops }) => {
    await using dir = await tempDir()
    await storeMixed(dir.path, ops)
    await expectMixed(dir.path)
  })

  it('are not told to be stored when they could not be written past it', async () => {
    await using dir = await tempDir()
    const { ops } = opsWhere((isPast, bytes) => {
      if (isPast) throw eio()
      return bytes
    })
    await using store = await openPackedObjectStore(dir.path, { ops })
    for (const error of await store.putMany(BULK, { zstd: true }))
      expect(error).toMatchObject({ code: 'unavailable' })
    expect(await collect(store.list(''))).toEqual([])
  })
})

describe('keys', () => {
  const part = fc.stringMatching(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,5}$/)
  const plain = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))
  const digest = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes) => Buffer.from(bytes).toString('hex'))
  const fanned = fc.tuple(plain, digest).map(([prefix, hex]) => `${prefix}/${hex.slice(0, 4)}/${hex}`)
  const keys = fc.oneof(plain, fanned)

  it('come back as they were, and different ones stay different', () => {
    fc.assert(
      fc.property(keys, keys, (one, two) => {
        expect(decodeKey(encodeKey(one))).toBe(one)
        expect(encodeKey(one).equals(encodeKey(two))).toBe(one === two)
      }),
    )
  })

  it('are found by every prefix that they have', () => {
    fc.assert(
      fc.property(keys, fc.nat(), (key, length) => {
        const encoded = encodeKey(key)
        const prefixes = encodedPrefixes(key.slice(0, length % (key.length + 1)))
        const found = prefixes.filter((prefix) => prefix.equals(encoded.subarray(0, prefix.length)))
        expect(found).toHaveLength(1)
      }),
    )
  })
})

describe('what a killed writer left behind', () => {
  /** Stores half, lets `spoil` append to the pack, stores the other half. */
  async function withGarbage(root: string, spoil: (pack: Buffer) => Buffer): Promise<void> {
    const half = OBJECTS.length / 2
    {
      await using store = await openPackedObjectStore(root)
      await store.putMany(OBJECTS.slice(0, half))
    }
    const [name] = await packFiles(root)
    const path = join(root, 'packs', name!)
    await fs.appendFile(path, spoil(await fs.readFile(path)))
    await using store = await openPackedObjectStore(root)
    await store.putMany(OBJECTS.slice(half))
    for (const { key, body } of OBJECTS) expect(Buffer.compare((await store.get(key))!, body), key).toBe(0)
    if (addon) expect(await packFiles(root)).toEqual([name])
  }

  it.each<[string, (pack: Buffer) => Buffer]>([
    ['a byte', () => Buffer.of(1)],
    ['the head of a record', (pack) => pack.subarray(32, 44)],
    ['a record without its end', (pack) => pack.subarray(32, 32 + 100)],
    ['zeros, as after a power cut', () => Buffer.alloc(5_000)],
    ['the beginning of the pack, mangled', (pack) => Buffer.from(pack.subarray(0, 2_000)).fill(7, 500, 510)],
  ])('does not hide records behind it: %s', async (_, spoil) => {
    await using dir = await tempDir()
    await withGarbage(dir.path, spoil)
    const found = contentsByKey(readPacks(dir.path))
    for (const { key, body } of OBJECTS) expect(Buffer.compare(found.get(key)!, body), key).toBe(0)
  })

  it('is not taken for records when somebody was storing a pack', async () => {
    await using inner = await tempDir()
    await using outer = await tempDir()
    {
      await using store = await openPackedObjectStore(inner.path)
      await store.put('planted', Buffer.from('a lie'))
    }
    const [planted] = await packFiles(inner.path)
    const pack = await fs.readFile(join(inner.path, 'packs', planted!))
    // A record that was to be longer than what was written of it.
    const head = Buffer.alloc(16)
    head.write('tvpr', 'latin1')
    head.writeUInt32LE(0xfffffff0, 8)
    await withGarbage(outer.path, () => Buffer.concat([Buffer.alloc(8 - (head.length % 8)), head, pack]))
    expect(contentsByKey(readPacks(outer.path)).has('planted')).toBe(false)
    // Negative control: a reader that does not look at checksums believes it.
    expect(contentsByKey(readPacks(outer.path, false)).has('planted')).toBe(true)
  })
})

describe('what is damaged is told, with pack, offset and key:', () => {
  async function damaged(spoil: (path: string) => Promise<void>): Promise<unknown> {
    await using dir = await tempDir()
    {
      await using store = await openPackedObjectStore(dir.path)
      await store.putMany(OBJECTS)
    }
    const [name] = await packFiles(dir.path)
    await spoil(join(dir.path, 'packs', name!))
    await using store = await openPackedObjectStore(dir.path)
    expect(await store.head(KEYS[9]!)).toBe(OBJECTS[9]!.body.length)
    return await store.get(KEYS[9]!).catch((error) => error)
  }

  it.each<[string, RegExp, (path: string) => Promise<void>]>([
    ['a pack that is missing', /the file is missing/, (path) => fs.rm(path)],
    ['a pack that was cut off', /the file ends \d+ bytes too early/, (path) => fs.truncate(path, 10_000)],
    ['a file that is no pack', /the file is no pack/, (path) => fs.writeFile(path, Buffer.alloc(10_000_000))],
    ['a record that is another one', /the record there is another one|no record begins there/, shifted],
    ['a bit', /the record there is damaged/, flipped],
  ])('%s', async (_, expected, spoil) => {
    const error = await damaged(spoil)
    expect(error).toMatchObject({ code: 'corrupt', message: expect.stringMatching(expected) })
    expect((error as Error).message).toMatch(
      new RegExp(`${KEYS[9]} should be \\d+ bytes at \\d+ of .*/packs/00000000.pack`),
    )
  })

  async function shifted(path: string): Promise<void> {
    const bytes = await fs.readFile(path)
    await fs.writeFile(path, Buffer.concat([bytes.subarray(0, 32), bytes.subarray(40)]))
  }

  async function flipped(path: string): Promise<void> {
    const bytes = await fs.readFile(path)
    const at = bytes.indexOf(OBJECTS[9]!.body)
    bytes[at + 100]! ^= 1
    await fs.writeFile(path, bytes)
  }
})

describe('a folder', () => {
  it('of something else is refused, and left as it is', async () => {
    await using dir = await tempDir()
    await fs.mkdir(join(dir.path, 'chunks'))
    await expect(openPackedObjectStore(dir.path)).rejects.toMatchObject({
      code: 'precondition',
      message: expect.stringContaining('chunks'),
    })
    await fs.writeFile(join(dir.path, 'version'), 'tvix-store raw blobs 1\n')
    await expect(openPackedObjectStore(dir.path)).rejects.toMatchObject({ code: 'precondition' })
    expect((await fs.readdir(dir.path)).filter((name) => name !== '.tmp').sort()).toEqual([
      'chunks',
      'version',
    ])
  })

  it('is made by several at once', async () => {
    await using dir = await tempDir()
    const opening = Array.from({ length: 10 }, () => openPackedObjectStore(join(dir.path, 'new')))
    for (const store of await Promise.all(opening)) {
      expect(await store.get(KEYS[0]!)).toBeUndefined()
      await store[Symbol.asyncDispose]()
    }
  })

  it('gets no pack before something is stored', async () => {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path)
    expect(await store.get(KEYS[0]!)).toBeUndefined()
    await store.putMany(EMPTY)
    expect(await packFiles(dir.path)).toEqual([])
  })
})

describe('several at once', () => {
  it('have a pack each, and the next one takes up what they leave', async () => {
    await using dir = await tempDir()
    {
      await using one = await openPackedObjectStore(dir.path)
      await using two = await openPackedObjectStore(dir.path)
      await Promise.all([one.putMany(OBJECTS.slice(0, 60)), two.putMany(OBJECTS.slice(40))])
      for (const { key, body } of OBJECTS) {
        expect(Buffer.compare((await one.get(key))!, body), key).toBe(0)
        expect(Buffer.compare((await two.get(key))!, body), key).toBe(0)
      }
      expect(await packFiles(dir.path)).toHaveLength(2)
    }
    await using three = await openPackedObjectStore(dir.path)
    await three.put('one-more', Uint8Array.of(1))
    expect(await packFiles(dir.path)).toHaveLength(addon ? 2 : 3)
  })

  it('leave alone what was written by somebody who cannot lock', async () => {
    await using dir = await tempDir()
    await using without = await openPackedObjectStore(dir.path, {
      ops: { ...nodePacksOps, addon: undefined },
    })
    await without.put('one', Uint8Array.of(1))
    await using locking = await openPackedObjectStore(dir.path)
    await locking.put('two', Uint8Array.of(2))
    await without.put('three', Uint8Array.of(3))
    for (const [i, key] of ['one', 'two', 'three'].entries())
      expect(await locking.get(key)).toEqual(Buffer.of(i + 1))
    expect(await packFiles(dir.path)).toHaveLength(2)
  })

  it('take a new number when another was faster', async () => {
    await using dir = await tempDir()
    let isFirst = true
    const late: PacksOps = {
      ...nodePacksOps,
      addon: undefined,
      list: (folder) => (isFirst ? [] : nodePacksOps.list(folder)),
    }
    await using one = await openPackedObjectStore(dir.path, { ops: late })
    await using two = await openPackedObjectStore(dir.path, { ops: late })
    await one.put('one', Uint8Array.of(1))
    await two.put('two', Uint8Array.of(2))
    isFirst = false
    expect(await packFiles(dir.path)).toEqual(['00000000.pack', '00000001.pack'])
    expect(await one.get('two')).toEqual(Buffer.of(2))
  })
})

/** What became durable, by what was written and synced. `forgets`: a call after which nothing is, as a negative control. */
class Disk {
  readonly #paths = new Map<number, string>()
  readonly #written = new Map<string, number>()
  readonly #durable = new Map<string, number>()
  readonly #named = new Set<string>()
  readonly ops: PacksOps

  constructor(forgets?: 'sync' | 'syncFolder') {
    this.ops = {
      ...nodePacksOps,
      open: (path, flags) => {
        const fd = nodePacksOps.open(path, flags)
        this.#paths.set(fd, path)
        return fd
      },
      write: async (fd, bytes, position) => {
        // As write(2) may: a part.
        const written = await nodePacksOps.write(fd, bytes.subarray(0, Math.ceil(bytes.length / 2)), position)
        const path = this.#paths.get(fd)!
        this.#written.set(path, Math.max(this.#written.get(path) ?? 0, position + written))
        return written
      },
      sync: async (fd) => {
        const path = this.#paths.get(fd)!
        const upTo = this.#written.get(path)!
        await nodePacksOps.sync(fd)
        if (forgets !== 'sync') this.#durable.set(path, upTo)
      },
      syncFolder: async (folder) => {
        const names = nodePacksOps.list(folder)
        await nodePacksOps.syncFolder(folder)
        if (forgets !== 'syncFolder') for (const name of names) this.#named.add(join(folder, name))
      },
    }
  }

  /** Whether the power could go now and take away what the store shows. */
  async lies(store: PackedObjects): Promise<boolean> {
    const place = { pack: 0, offset: 0, stored: 0 }
    const places = store.placesBelow('chunks/b3')
    for (const key of [...KEYS, ...BULK_ELSEWHERE.map(({ key }) => key)]) {
      if (!places.find(Buffer.from(key.slice(-64), 'hex'), place)) continue
      const path = join(store.packsFolder, `${place.pack.toString(16).padStart(8, '0')}.pack`)
      if (
        !this.#named.has(path) ||
        !this.#named.has(store.packsFolder) ||
        (this.#durable.get(path) ?? 0) < place.offset + place.stored
      )
        return true
    }
    return false
  }
}

describe('whenever the power goes,', () => {
  async function anyLie(disk: Disk): Promise<boolean> {
    await using dir = await tempDir()
    await using store = await openPackedObjectStore(dir.path, { ops: disk.ops, packBytesMax: 200_000 })
    let isLie = false
    let isDone = false
    const watching = (async () => {
      while (!isDone) {
        isLie ||= await disk.lies(store)
        await new Promise(setImmediate)
      }
    })()
    await Promise.all([
      store.putMany(OBJECTS.slice(0, 50), { zstd: true }).then(async () => {
        isLie ||= await disk.lies(store)
      }),
      store.putMany(OBJECTS.slice(30)),
      store.putMany(BULK_ELSEWHERE, { zstd: true }),
      ...OBJECTS.slice(0, 10).map(({ key, body }) => store.put(key, body)),
    ])
    isDone = true
    await watching
    for (const { key } of [...OBJECTS, ...BULK_ELSEWHERE]) expect(await store.head(key), key).toBeDefined()
    return isLie || (await disk.lies(store))
  }

  it('nothing that was visible is lost', async () => {
    expect(await anyLie(new Disk())).toBe(false)
  })

  it.each(['sync', 'syncFolder'] as const)(
    '(and this finds it out when %s does nothing)',
    async (forgets) => {
      expect(await anyLie(new Disk(forgets))).toBe(true)
    },
  )
})

/** Every system call fails once, the k-th, until the work is done untouched. */
describe('when one system call fails', () => {
  function failing(nth: number, code: string): { readonly ops: PacksOps; readonly calls: () => number } {
    let calls = 0
    const count = () => {
      if (++calls === nth) throw Object.assign(new Error(`${code}: injected`), { code })
    }
    const over = <F extends (...args: never[]) => unknown>(call: F, isAsync = false): F =>
      ((...args: Parameters<F>) => {
        if (isAsync)
          return Promise.resolve()
            .then(count)
            .then(() => call(...args))
        count()
        return call(...args)
      }) as F
    const real = nodePacksOps
    const ops: PacksOps = {
      list: over(real.list),
      open: over(real.open),
      size: over(real.size),
      read: over(real.read),
      write: over(real.write, true),
      sync: over(real.sync, true),
      syncFolder: over(real.syncFolder, true),
      close: real.close,
      addon: real.addon && {
        layOut: over(real.addon.layOut, true),
        lock: over(real.addon.lock),
      },
    }
    return { ops, calls: () => calls }
  }

  it.each([
    ['EIO', 'unavailable'],
    ['ENOSPC', 'exhausted'],
    ['EACCES', 'denied'],
  ] as const)(
    'with %s, it is told, nothing is half there, and the next try succeeds',
    async (code, expected) => {
      let nth = 1
      for (; ; nth++) {
        await using dir = await tempDir()
        {
          await using before = await openPackedObjectStore(dir.path)
          await before.put('before', Uint8Array.of(1))
        }
        const { ops, calls } = failing(nth, code)
        await using store = await openPackedObjectStore(dir.path, { ops, packBytesMax: 300_000 })
        const errors = [
          ...(await store.putMany(OBJECTS.slice(0, 50), { zstd: true })),
          ...(await store.putMany(OBJECTS.slice(50), { zstd: true })),
        ]
        for (const error of errors)
          if (error) expect(error.code, `k = ${nth}: ${error.message}`).toBe(expected)
        for (const [i, { key, body }] of OBJECTS.entries()) {
          const found = await store.get(key)
          expect(found === undefined, `k = ${nth}, ${key}`).toBe(errors[i] !== undefined)
          if (found) expect(Buffer.compare(zstdDecompressSync(found), body)).toBe(0)
        }
        expect((await store.putMany(OBJECTS, { zstd: true })).filter(Boolean), `k = ${nth}`).toEqual([])
        for (const { key, body } of OBJECTS)
          expect(Buffer.compare(zstdDecompressSync((await store.get(key))!), body)).toBe(0)
        if (calls() < nth || !errors.some(Boolean)) break
      }
      console.info(`packs, ${code}: untouched at k = ${nth}`)
      expect(nth).toBeGreaterThan(10)
    },
  )

  it('the checks find a store that says that it stored what it could not (negative control)', async () => {
    await using dir = await tempDir()
    const ops: PacksOps = { ...nodePacksOps, write: async (_, bytes) => bytes.length }
    await using store = await openPackedObjectStore(dir.path, { ops })
    expect((await store.putMany(OBJECTS)).filter(Boolean)).toEqual([])
    await expect(store.get(KEYS[0]!)).rejects.toMatchObject({ code: 'corrupt' })
  })

  it('nobody waits for ever after a failure of the disk, and closing works', async () => {
    await using dir = await tempDir()
    const ops: PacksOps = { ...nodePacksOps, sync: () => Promise.reject(eio()) }
    await using store = await openPackedObjectStore(dir.path, { ops })
    const puts = OBJECTS.slice(0, 20).map(({ key, body }) => store.put(key, body).catch((error) => error))
    for (const error of await Promise.all(puts))
      expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('00000000.pack') })
    expect(await collect(store.list(''))).toEqual([])
  })
})

const CHILD = join(import.meta.dirname, 'put-many-child.ts')
const NODE = join(import.meta.dirname, '../../../../node_modules/.bin/node')

async function runChild(root: string, round: string, linesMax: number): Promise<string[]> {
  const child = spawn(NODE, [CHILD, root, '1000', round, 'packs'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  let output = ''
  for await (const text of child.stdout) {
    output += text
    if (output.split('\n').length > linesMax) child.kill('SIGKILL')
  }
  await exited
  const lines = output.split('\n').slice(0, -1)
  return lines.flatMap((line) => (JSON.parse(line) as [string, string][]).map(([key]) => key))
}

async function expectPromised(root: string, promised: readonly string[]): Promise<void> {
  await using store = await openPackedObjectStore(root)
  const keys = await collect(store.list(''))
  expect(keys).toEqual(expect.arrayContaining([...promised]))
  expect(promised.length).toBeGreaterThan(100)
  for (const key of keys)
    expect(Buffer.compare(zstdDecompressSync((await store.get(key))!), bodyOf(key)), key).toBe(0)
  // The independent reader finds all of it, whatever lies between.
  const found = contentsByKey(readPacks(root))
  for (const key of keys)
    expect(Buffer.compare(zstdDecompressSync(found.get(key)!), bodyOf(key)), key).toBe(0)
}

test('killed at any time, packs have whole objects and all that was promised', async () => {
  await using dir = await tempDir()
  const promised: string[] = []
  for (let round = 0; round < 8; round++)
    promised.push(...(await runChild(dir.path, String(round), 1 + round)))
  await expectPromised(dir.path, promised)
  if (addon) expect(await packFiles(dir.path)).toHaveLength(1)
})

test('several processes store at once, and are killed', async () => {
  await using dir = await tempDir()
  const promised = await Promise.all(['a', 'b', 'c'].map((round, i) => runChild(dir.path, round, 4 + i)))
  await expectPromised(dir.path, promised.flat())
  if (addon) expect((await packFiles(dir.path)).length).toBeLessThanOrEqual(3)
})

test.skipIf(!CAN_MOUNT)('a disk that becomes full fails the rest, and what was stored is whole', async () => {
  await using dir = await tempDir()
  const script = `mount -t tmpfs -o size=6m full ${dir.path} && ${NODE} ${CHILD} ${dir.path}/store 4 0 packs && cp -r ${dir.path}/store ${dir.path}-copy`
  try {
    const output = execFileSync('unshare', ['-m', 'sh', '-ec', script], { encoding: 'utf8' })
    const verdicts: [string, string][] = output
      .trim()
      .split('\n')
      .flatMap((line) => JSON.parse(line))
    const stored = verdicts.filter(([, verdict]) => verdict === 'stored')
    expect(stored.length).toBeGreaterThan(5)
    expect(new Set(verdicts.map(([, verdict]) => verdict))).toEqual(new Set(['stored', 'exhausted']))
    await using store = await openPackedObjectStore(`${dir.path}-copy`)
    expect(await collect(store.list(''))).toHaveLength(stored.length)
    for (const [key] of stored)
      expect(Buffer.compare(zstdDecompressSync((await store.get(key))!), bodyOf(key)), key).toBe(0)
  } finally {
    await fs.rm(`${dir.path}-copy`, { recursive: true, force: true })
  }
})

test('the index grows with what there is, also under who has it open', { timeout: 60_000 }, async () => {
  await using dir = await tempDir()
  await using reader = await openPackedObjectStore(dir.path)
  await using store = await openPackedObjectStore(dir.path)
  const COUNT = 60_000
  const keyOf = (i: number) => {
    const hex = i.toString(16).padStart(8, '0').repeat(8)
    return `blobs/b3/${hex.slice(0, 4)}/${hex}`
  }
  for (let first = 0; first < COUNT; first += 2_000) {
    const objects = Array.from({ length: 2_000 }, (_, i) => ({
      key: keyOf(first + i),
      body: new Uint8Array(0),
    }))
    expect((await store.putMany(objects)).filter(Boolean)).toEqual([])
    expect(await reader.head(keyOf(first))).toBe(0)
  }
  expect((await fs.stat(join(dir.path, 'index.lmdb'))).size).toBeGreaterThan(3_000_000)
  expect(await collect(reader.list('blobs/'))).toHaveLength(COUNT)
})
