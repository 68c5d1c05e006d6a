import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { zstdCompressSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { nativeAddon } from '../../../../src/mount/fuse/native-addon.ts'
import { FILL_GROUP, NativePageFiller } from '../../../../src/mount/fuse/page-filler.ts'
import { FILL_RECORD } from '../../../../src/mount/tree/fill-ahead.ts'
import type { MutablePlace } from '../../../../src/services/blobs/chunk-places.ts'

const isBuilt = (() => {
  try {
    return nativeAddon() !== undefined
  } catch {
    return false
  }
})()

interface File {
  readonly contents: Buffer
  readonly digest: Digest
}

const fileOf = (n: number, repeated = 1 + (n % 50)): File => {
  const contents = Buffer.from(`contents of ${n}\n`.repeat(repeated))
  return { contents, digest: Digest.of(contents) }
}
const files = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => fileOf(from + i))

/** docs/pack-format.md, less the checksums, which are for those who have no index. */
class Pack {
  #bytes = Buffer.alloc(32)
  readonly places = new Map<string, MutablePlace>()
  readonly #number: number

  constructor(number = 0) {
    this.#number = number
  }

  add({ contents, digest }: File, stored: Buffer = zstdCompressSync(contents), start = 'chunks/b3'): this {
    const key = Buffer.concat([Buffer.from(`${start}\0`), digest.bytes])
    const head = Buffer.alloc(16)
    head.write('tvpr')
    head.writeUInt32LE(stored.length, 8)
    head.writeUInt32LE(key.length, 12)
    const offset = this.#bytes.length + head.length + key.length
    this.places.set(digest.key, { pack: this.#number, offset, stored: stored.length })
    this.#append(head, key, stored)
    return this
  }

  addAll(each: Iterable<File>): this {
    for (const file of each) this.add(file)
    return this
  }

  addGarbage(bytes: number): this {
    this.#append(Buffer.alloc(bytes, 'garbage '))
    return this
  }

  write(folder: string): this {
    writeFileSync(join(folder, `${this.#number.toString(16).padStart(8, '0')}.pack`), this.#bytes)
    return this
  }

  #append(...parts: Buffer[]): void {
    const joined = Buffer.concat([this.#bytes, ...parts])
    this.#bytes = Buffer.concat([joined, Buffer.alloc(-joined.length & 7)])
  }
}

/** Inode `1000 + i` for the file `i`. */
function recordsOf(wanted: readonly File[]): Buffer {
  const records = Buffer.alloc(wanted.length * FILL_RECORD.bytes)
  for (const [i, { contents, digest }] of wanted.entries()) {
    const at = i * FILL_RECORD.bytes
    records.writeBigUInt64LE(BigInt(1000 + i), at)
    records.writeUInt32LE(contents.length, at + FILL_RECORD.size)
    records.set(digest.bytes, at + FILL_RECORD.digest)
  }
  return records
}

/** What was stored into which inode. */
function storesIn(bytes: Buffer): Map<number, string> {
  const stores = new Map<number, string>()
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at)) {
    expect([bytes.readInt32LE(at + 4), bytes.readBigUInt64LE(at + 24)]).toEqual([4, 0n])
    const size = bytes.readUInt32LE(at + 32)
    stores.set(Number(bytes.readBigUInt64LE(at + 16)), bytes.toString('latin1', at + 40, at + 40 + size))
  }
  return stores
}

describe.skipIf(!isBuilt)('files of packs that are pushed', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-filler-'))
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  /** Pushes the files into a file that stands for the device; how often places were asked for, and what could not be pushed. */
  async function push(wanted: readonly File[], ...packs: readonly Pack[]) {
    const places = new Map(packs.flatMap((pack) => [...pack.write(folder).places]))
    let asked = 0
    const find = (digest: Uint8Array, place: MutablePlace) => {
      asked++
      const known = places.get(Digest.fromBytes(Uint8Array.from(digest)).key)
      if (known) Object.assign(place, known)
      return known !== undefined
    }
    const path = join(folder, 'device')
    const device = openSync(path, 'a')
    const filler = new NativePageFiller(device, { kind: 'packs', folder, places: { find } })
    try {
      expect(filler.fill(recordsOf(wanted), true)).toBe(true)
      while (filler.counts.files + filler.counts.failed < wanted.length) await nextTurn()
      return { stores: storesIn(readFileSync(path)), asked, failed: filler.counts.failed }
    } finally {
      await filler.close()
      closeSync(device)
    }
  }

  const all = (wanted: readonly File[]) =>
    new Map(wanted.map(({ contents }, i) => [1000 + i, contents.toString('latin1')]))

  test('are found behind the first of them, and nobody asks where they are', async () => {
    const wanted = files(0, FILL_GROUP)
    const { stores, asked } = await push(wanted, new Pack().addAll(wanted))
    expect(stores).toEqual(all(wanted))
    expect(asked).toBe(1)
  })

  test('also when they lie in another order, among chunks of others, lists of chunks and other keys', async () => {
    const wanted = files(0, 100)
    const pack = new Pack().add(wanted[0]!)
    for (let i = 99; i > 0; i--) {
      pack.add(wanted[i]!)
      if (i % 4 === 0) pack.add(fileOf(1000 + i))
      if (i % 9 === 0) pack.add(fileOf(2000 + i), undefined, 'blobs/b3').add(fileOf(3000 + i), undefined, 'x')
    }
    const { stores, asked } = await push(wanted, pack)
    expect(stores).toEqual(all(wanted))
    expect(asked).toBe(1)
  })

  test('group by group, where there are more', async () => {
    const wanted = files(0, 2 * FILL_GROUP + 3)
    const { stores, asked } = await push(wanted, new Pack().addAll(wanted))
    expect(stores).toEqual(all(wanted))
    expect(asked).toBe(3)
  })

  test('a directory that lies in two packs is two groups', async () => {
    const wanted = files(0, 100)
    const packs = [new Pack(0).addAll(wanted.slice(0, 60)), new Pack(1).addAll(wanted.slice(60))]
    const { stores, asked } = await push(wanted, ...packs)
    expect(stores).toEqual(all(wanted))
    expect(asked).toBe(2)
  })

  test('what lies behind garbage, or far away, is asked for', async () => {
    const wanted = files(0, 40)
    const pack = new Pack().addAll(wanted.slice(0, 30)).addGarbage(80).addAll(wanted.slice(30, 35))
    for (let n = 0; n < 500; n++) pack.add(fileOf(5000 + n))
    const { stores, asked } = await push(wanted, pack.addAll(wanted.slice(35)))
    expect(stores).toEqual(all(wanted))
    expect(asked).toBe(1 + 10)
  })

  test('a place that is out of date spoils nothing but itself', async () => {
    const wanted = files(0, 30)
    const pack = new Pack().addAll(wanted)
    const { offset, stored } = pack.places.get(wanted[0]!.digest.key)!
    for (const [wrong, length] of [
      [offset + 8, stored],
      [offset + 3, stored],
      [7, stored],
      [2 ** 52, stored],
      [offset, 0],
    ] as const) {
      pack.places.set(wanted[0]!.digest.key, { pack: 0, offset: wrong, stored: length })
      const { stores, failed } = await push(wanted, pack)
      const expected = all(wanted)
      // It is found where it lies, if it is looked for behind another one.
      if (failed === 1) expected.delete(1000)
      expect(stores).toEqual(expected)
      await rm(join(folder, 'device'))
    }
  })

  test('contents that are not what their key says are never pushed, nor what is no frame, or one of another size', async () => {
    const wanted = files(0, 40)
    const pack = new Pack()
    const frame = (file: File) => zstdCompressSync(file.contents)
    const wrong = new Map([
      [3, frame(fileOf(103, 4))],
      [4, Buffer.from('no frame')],
      [5, frame(fileOf(5, 49))],
      [6, Buffer.alloc(0)],
      [39, frame(wanted[39]!).subarray(0, -4)],
    ])
    for (const [i, file] of wanted.entries()) pack.add(file, wrong.get(i))
    const { stores, failed } = await push(wanted, pack)
    const expected = all(wanted)
    for (const i of wrong.keys()) expected.delete(1000 + i)
    expect(stores).toEqual(expected)
    expect(failed).toBe(wrong.size)
  })

  test('a pack that is cut, or gone, gives what it has', async () => {
    const wanted = files(0, 40)
    const pack = new Pack().addAll(wanted).write(folder)
    const path = join(folder, '00000000.pack')
    const { offset, stored } = pack.places.get(wanted[20]!.digest.key)!
    const cut = readFileSync(path).subarray(0, offset + stored - 1)
    const short: Pack = Object.assign(Object.create(pack), { places: pack.places, write: () => short })
    writeFileSync(path, cut)
    const { stores, failed } = await push(wanted, short)
    expect(stores).toEqual(all(wanted.slice(0, 20)))
    expect(failed).toBe(20)
    await rm(path)
    await rm(join(folder, 'device'))
    expect(await push(wanted, short)).toMatchObject({ failed: 40 })
  })

  test('are asked for one by one when they never lie together', async () => {
    const wanted = files(0, 2000)
    const apart = wanted.toSorted((a, b) => (a.digest.key < b.digest.key ? -1 : 1))
    const pack = new Pack()
    for (const file of apart) pack.add(file).addGarbage(8)
    const places = new Map(pack.write(folder).places)
    const device = openSync(join(folder, 'device'), 'a')
    let asked = 0
    const find = (digest: Uint8Array, place: MutablePlace) => {
      asked++
      Object.assign(place, places.get(Digest.fromBytes(Uint8Array.from(digest)).key))
      return true
    }
    const filler = new NativePageFiller(device, { kind: 'packs', folder, places: { find } })
    for (let at = 0; at < wanted.length; at += 100) {
      filler.fill(recordsOf(wanted.slice(at, at + 100)), true)
      while (filler.counts.files < at + 100) await nextTurn()
    }
    // Of each directory all but the first are asked for once more, until that is given up.
    expect(asked).toBeLessThan(wanted.length + 2 * 512)
    const { files: pushed, failed } = filler.counts
    expect([pushed, failed]).toEqual([2000, 0])
    await filler.close()
    closeSync(device)
  })
})
