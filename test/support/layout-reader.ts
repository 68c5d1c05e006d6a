/**
 * Reads a store directory by the description of its layout alone (wire specification §1.2, §1.3, §3.3, §3.6). It
 * shares no code with the program: files, zstd, BLAKE3 and a dozen lines of protobuf. It insists on everything.
 */
import { ok, strictEqual } from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createZstdDecompress } from 'node:zlib'
import { blake3 as hash } from '@napi-rs/blake-hash'

export interface LayoutFile {
  readonly kind: 'file'
  readonly executable: boolean
  readonly contents: Buffer
}

export type LayoutEntry =
  | LayoutFile
  | { readonly kind: 'symlink'; readonly target: Buffer }
  | { readonly kind: 'directory' }

export class LayoutReader {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** The roots of all closures: the last part of every key below `dirs/`. */
  roots(): string[] {
    return readdirSync(join(this.#folder, 'dirs/b3'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => entry.name)
  }

  /** Everything below a root, by its path (in latin1, so that names that are no text keep their bytes). */
  async tree(root: string): Promise<Map<string, LayoutEntry>> {
    const directories = new Map((await this.#closure(root)).map((bytes) => [blake3(bytes), bytes]))
    const entries = new Map<string, LayoutEntry>()
    const used = new Set<string>()
    const walk = async (digest: string, path: string): Promise<void> => {
      const directory = directories.get(digest)
      ok(directory, `the closure of ${root} lacks ${digest}`)
      used.add(digest)
      for (const [field, value] of messages(directory)) {
        const node = fields(value)
        const name = bytes(node, 1)
        const at = `${path}/${name.toString('latin1')}`
        if (field === 1) {
          entries.set(at, { kind: 'directory' })
          await walk(bytes(node, 2).toString('hex'), at)
        } else if (field === 2) {
          const contents = await this.blob(bytes(node, 2).toString('hex'))
          strictEqual(contents.length, node.get(3) ?? 0, `size of ${at}`)
          entries.set(at, { kind: 'file', executable: node.get(4) === 1, contents })
        } else {
          strictEqual(field, 3)
          entries.set(at, { kind: 'symlink', target: bytes(node, 2) })
        }
      }
    }
    await walk(root, '')
    strictEqual(used.size, directories.size, 'directories in the closure that nothing refers to')
    return entries
  }

  async blob(digest: string): Promise<Buffer> {
    const chunks = messages(this.#object('blobs', digest)).map(([field, value]) => {
      strictEqual(field, 2, 'a field of the chunk list')
      const meta = fields(value)
      return { digest: bytes(meta, 1).toString('hex'), size: Number(meta.get(2)) }
    })
    const isEmpty = digest === blake3(Buffer.of())
    if (chunks.length === 0) return isEmpty ? Buffer.of() : await this.#chunk(digest)
    const parts: Buffer[] = []
    for (const { digest: chunk, size } of chunks) {
      const part = await this.#chunk(chunk)
      strictEqual(part.length, size, `size of chunk ${chunk}`)
      parts.push(part)
    }
    const whole = Buffer.concat(parts)
    strictEqual(blake3(whole), digest, 'digest of a blob')
    return whole
  }

  async #chunk(digest: string): Promise<Buffer> {
    const chunk = await decompress(this.#object('chunks', digest))
    strictEqual(blake3(chunk), digest, 'digest of a chunk')
    return chunk
  }

  async #closure(root: string): Promise<Buffer[]> {
    const stream = await decompress(this.#object('dirs', root))
    const found: Buffer[] = []
    for (let at = 0; at < stream.length; ) {
      const length = stream.readUInt32BE(at)
      ok(at + 4 + length <= stream.length, 'a frame ends beyond the stream')
      found.push(stream.subarray(at + 4, at + 4 + length))
      at += 4 + length
    }
    ok(found.length > 0, 'an empty closure')
    strictEqual(blake3(found[0]!), root, 'the first frame is the root')
    return found
  }

  #object(family: 'blobs' | 'chunks' | 'dirs', digest: string): Buffer {
    return readFileSync(join(this.#folder, family, 'b3', digest.slice(0, 4), digest))
  }
}

function blake3(bytes: Uint8Array): string {
  return Buffer.from(hash(bytes)).toString('hex')
}

async function decompress(frames: Buffer): Promise<Buffer> {
  const decompressor = createZstdDecompress()
  decompressor.end(frames)
  return Buffer.concat(await decompressor.toArray())
}

/** Fields that are messages, in their order. */
function messages(message: Buffer): [number, Buffer][] {
  return parse(message).map(([field, value]) => {
    ok(Buffer.isBuffer(value), 'a field that is no message')
    return [field, value]
  })
}

function fields(message: Buffer): Map<number, Buffer | number> {
  return new Map(parse(message))
}

function bytes(message: Map<number, Buffer | number>, field: number): Buffer {
  const value = message.get(field)
  ok(Buffer.isBuffer(value), `field ${field} is missing`)
  return value
}

function parse(message: Buffer): [number, Buffer | number][] {
  const found: [number, Buffer | number][] = []
  let at = 0
  const varint = (): number => {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++]
      ok(byte !== undefined, 'a number is cut')
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
  }
  while (at < message.length) {
    const tag = varint()
    const number = varint()
    if (tag % 8 === 0) found.push([tag >>> 3, number])
    else {
      strictEqual(tag % 8, 2, 'a wire type that is not used here')
      ok(at + number <= message.length, 'a field is cut')
      found.push([tag >>> 3, message.subarray(at, at + number)])
      at += number
    }
  }
  return found
}
