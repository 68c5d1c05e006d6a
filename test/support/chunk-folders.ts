import { appendFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { zstdCompressSync } from 'node:zlib'
import { Digest } from '../../src/model/castore/digest.ts'
import type { LocalChunkSource, MutablePlace, PackPlaces } from '../../src/services/blobs/chunk-places.ts'
import { concatBytes } from '../../src/support/bytes.ts'

/** The chunks of one blob, below a folder, in one of the ways in which they may lie on the local disk. */
export interface ChunkFolder {
  readonly source: LocalChunkSource
  /** Puts a chunk there; with `contents`, those lie in the place of its own, which have as many bytes. */
  put(index: number, contents?: Uint8Array): void
}

export type MakeChunkFolder = (folder: string, chunks: readonly Uint8Array[]) => ChunkFolder

export const CHUNK_FOLDERS: Readonly<Record<LocalChunkSource['kind'], MakeChunkFolder>> = {
  loose: (folder, chunks) => ({
    source: { kind: 'loose', folder },
    put(index, contents = chunks[index]!) {
      const { hex } = Digest.of(chunks[index]!)
      write(join(folder, hex.slice(0, 4), hex), zstdCompressSync(contents))
    },
  }),

  packs(folder, chunks) {
    const packs = new TestPacks(folder)
    return {
      source: packs.source,
      // Packs are many, so that some are opened while others are.
      put: (index, contents = chunks[index]!) =>
        packs.put(Digest.of(chunks[index]!), zstdCompressSync(contents), 1 + (index % 3)),
    }
  },

  raw(folder, chunks) {
    const whole = concatBytes(chunks)
    const blob = new Uint8Array(whole.length)
    const path = join(folder, rawName(Digest.of(whole)))
    return {
      source: { kind: 'raw', folder },
      put(index, contents = chunks[index]!) {
        const start = chunks.slice(0, index).reduce((sum, { length }) => sum + length, 0)
        blob.set(contents, start)
        write(path, blob)
      },
    }
  },
}

/** Of a whole blob, below the folder of the blobs. */
export function rawName({ hex }: Digest): string {
  return join(hex.slice(0, 2), hex)
}

/** A packed store without a store: files of frames, and where each lies. */
export class TestPacks implements PackPlaces {
  readonly source: LocalChunkSource
  readonly #folder: string
  readonly #places = new Map<string, MutablePlace>()

  constructor(folder: string) {
    this.#folder = folder
    this.source = { kind: 'packs', folder, places: this }
  }

  /** Behind what the pack has already, some bytes of nothing in between. */
  put(digest: Digest, frames: Uint8Array, pack = 1): void {
    const path = this.pathOf(pack)
    mkdirSync(this.#folder, { recursive: true })
    appendFileSync(path, 'nothing')
    this.tell(digest, { pack, offset: statSync(path).size, stored: frames.length })
    appendFileSync(path, frames)
  }

  /** Says that a chunk lies somewhere, where it may or may not. */
  tell(digest: Digest, place: Partial<MutablePlace>): void {
    const known = this.#places.get(digest.hex) ?? { pack: 1, offset: 0, stored: 1 }
    this.#places.set(digest.hex, { ...known, ...place })
  }

  /** … with what it was told last. */
  placeOf(digest: Digest): Readonly<MutablePlace> {
    return this.#places.get(digest.hex)!
  }

  pathOf(pack: number): string {
    return join(this.#folder, `${pack.toString(16).padStart(8, '0')}.pack`)
  }

  find(digest: Uint8Array, place: MutablePlace): boolean {
    const found = this.#places.get(Buffer.from(digest).toString('hex'))
    if (found) Object.assign(place, found)
    return found !== undefined
  }
}

function write(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, bytes)
}
