/**
 * What an import found out about the files of a tree, for the next import of it. As in git's index, a file whose place
 * and times are those of last time has the contents of last time, and is not read again to be stored.
 *
 * Each tree has a file of its own, written beside its place and moved there: several imports at once do not disturb
 * each other, the last one counts. What is damaged is as good as absent; nothing here is needed.
 */
import { randomUUID } from 'node:crypto'
import { readdir, readFile, realpath, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { BLAKE3_BYTES, blake3 } from '../model/castore/blake3.ts'
import { Digest } from '../model/castore/digest.ts'
import type { Node } from '../model/castore/node.ts'
import type { NarDigest } from '../services/pathinfos/interface.ts'
import { equalBytes, hex, utf8, view } from '../support/bytes.ts'
import { createFolders } from '../support/folders.ts'
import {
  IMPORT_CACHE_BYTES_MAX,
  IMPORT_CACHE_FILES_MAX,
  IMPORT_CACHE_RACY_MS,
  TEMP_FILE_STALE_MS,
} from '../support/limits.ts'
import { type Logger, silentLogger } from '../support/log.ts'
import { type FileState, type SourceRecords, WORD } from '../support/source-records.ts'

/**
 * Magic, then the digest of the tree's root directory, size and SHA-256 of its NAR; then a record for each file: device,
 * inode, size, mtime, ctime, digest. Numbers have 8 bytes, little endian, times are in ns. In the end the BLAKE3 of it all.
 */
const MAGIC = utf8('tvxsimp1')
const HEAD_BYTES = 8 + BLAKE3_BYTES + 8 + 32
const STATE_BYTES = 5 * 8
const RECORD_BYTES = STATE_BYTES + BLAKE3_BYTES

/** Where in a record of 4-byte halves, and in one of a walk, they are. */
const OLD_STATE = [0, 1, 2, 3, 4].map((word) => 2 * word)
const WALK_STATE = [WORD.dev, WORD.ino, WORD.size, WORD.mtimeNs, WORD.ctimeNs].map((word) => 2 * word)

/** What the last import found out, and what this one does. */
export class ImportCache {
  readonly #file: string | undefined
  readonly #logger: Logger
  readonly #old: Buffer
  readonly #oldHalves: Uint32Array
  /** A table of where in the old records an inode is, plus 1. Of two devices' the first one counts: states are compared in full. */
  readonly #places: Int32Array
  #new = Buffer.alloc(64 * RECORD_BYTES)
  #newBytes = 0
  /** One state, as numbers and as bytes; little endian is what the machines have that this runs on. */
  readonly #words = new BigUint64Array(STATE_BYTES / 8)
  readonly #state = Buffer.from(this.#words.buffer)
  #hits = 0

  /** Never fails: without a file, or with one that cannot be read or is damaged, nothing is known. */
  static async load(folder: string, tree: string, logger: Logger = silentLogger): Promise<ImportCache> {
    try {
      const file = join(folder, hex(blake3(utf8(await realpath(tree)))))
      return new ImportCache(file, await readChecked(file, logger), logger)
    } catch (error) {
      logger.debug({ err: error, folder }, 'the import cache cannot be used')
      return new ImportCache(undefined, Buffer.alloc(0), logger)
    }
  }

  private constructor(file: string | undefined, old: Buffer, logger: Logger) {
    this.#file = file
    this.#logger = logger
    // Where numbers are to be read from, they have to be at a place of theirs.
    this.#old = Buffer.from(Uint8Array.from(old).buffer)
    this.#oldHalves = new Uint32Array(this.#old.buffer)
    const records = Math.max(0, old.length - HEAD_BYTES) / RECORD_BYTES
    this.#places = new Int32Array(2 ** Math.ceil(Math.log2(2 * records + 2)))
    for (let at = HEAD_BYTES; at < old.length; at += RECORD_BYTES) {
      const place = this.#placeOf(this.#oldHalves[at / 4 + 2]!, this.#oldHalves[at / 4 + 3]!)
      if (this.#places[place] === 0) this.#places[place] = at + 1
    }
  }

  /**
   * What file i of a walk contains, if that is known and the file is as it was then: the place to ask `digestAt` for.
   * Whether a store has it is another question.
   */
  find(records: SourceRecords, i: number): number | undefined {
    const { halves } = records
    const inode = 16 * i + 2 * WORD.ino
    const at = this.#places[this.#placeOf(halves[inode]!, halves[inode + 1]!)]! - 1
    if (at < 0) return undefined
    const old = this.#oldHalves
    for (let word = 0; word < OLD_STATE.length; word++) {
      const [then, now] = [at / 4 + OLD_STATE[word]!, 16 * i + WALK_STATE[word]!]
      if (old[then] !== halves[now] || old[then + 1] !== halves[now + 1]) return undefined
    }
    return at
  }

  digestAt(place: number): Digest {
    return Digest.fromBytes(this.#old.subarray(place + STATE_BYTES, place + RECORD_BYTES))
  }

  /** A file is still as it was when it was found. */
  keep(place: number): void {
    this.#hits++
    if (this.#hasRoom())
      this.#new.set(this.#old.subarray(place, place + RECORD_BYTES), this.#newBytes - RECORD_BYTES)
  }

  /**
   * What a file in this state contains, read at `readMs` (Date.now() before it was in this state). Times are counted in
   * ticks of some milliseconds: what changed right before it was read may have changed again since, and show the same.
   */
  learn(state: FileState, digest: Digest, readMs: number): void {
    const newestMs = Math.max(...[state.ctimeNs, state.mtimeNs].map((ns) => Number(ns / 1_000_000n)))
    if (newestMs <= readMs - IMPORT_CACHE_RACY_MS) this.#note(state, digest)
  }

  /** Of the tree below this node, if it is that of last time. */
  narOf(node: Node): NarDigest | undefined {
    const old = this.#old
    if (node.kind !== 'directory' || old.length === 0) return undefined
    if (!equalBytes(node.digest.bytes, old.subarray(8, 8 + BLAKE3_BYTES))) return undefined
    const narSize = old.readBigUInt64LE(8 + BLAKE3_BYTES)
    return { narSize, narSha256: Uint8Array.from(old.subarray(16 + BLAKE3_BYTES, HEAD_BYTES)) }
  }

  /** For the next import; `nar`: if it is known. A failure costs nothing but time. */
  async save(node: Node, nar: NarDigest | undefined): Promise<void> {
    if (this.#file === undefined || node.kind !== 'directory') return
    const folder = join(this.#file, '..')
    const temp = join(folder, `.${randomUUID()}`)
    const known = nar ?? this.narOf(node)
    const head = known ? headOf(node.digest, known) : HEAD_WITHOUT_NAR
    try {
      if (this.#isUnchanged(head)) {
        const now = new Date()
        await utimes(this.#file, now, now)
        return
      }
      const contents = Buffer.concat([head, this.#new.subarray(0, this.#newBytes)])
      await createFolders(folder)
      await writeFile(temp, Buffer.concat([contents, blake3(contents)]), { mode: 0o600, flag: 'wx' })
      await rename(temp, this.#file)
      await removeOldest(folder)
    } catch (error) {
      await unlink(temp).catch(() => {}) // it may never have been; the first error counts
      this.#logger.debug({ err: error, folder }, 'the import cache cannot be written')
    }
  }

  #isUnchanged(head: Buffer): boolean {
    const records = (this.#old.length - HEAD_BYTES) / RECORD_BYTES
    return (
      head.equals(this.#old.subarray(0, HEAD_BYTES)) &&
      this.#hits === records &&
      this.#newBytes === records * RECORD_BYTES
    )
  }

  #note(state: FileState, digest: Digest): void {
    if (!this.#hasRoom()) return
    this.#write(state)
    this.#new.set(this.#state, this.#newBytes - RECORD_BYTES)
    this.#new.set(digest.bytes, this.#newBytes - RECORD_BYTES + STATE_BYTES)
  }

  /** For one more record, which is counted then. */
  #hasRoom(): boolean {
    if (this.#newBytes >= IMPORT_CACHE_FILES_MAX * RECORD_BYTES) return false
    if (this.#newBytes === this.#new.length)
      this.#new = Buffer.concat([this.#new, Buffer.alloc(this.#new.length)])
    this.#newBytes += RECORD_BYTES
    return true
  }

  /** Where in the table an inode is, or belongs. */
  #placeOf(low: number, high: number): number {
    const places = this.#places
    const old = this.#oldHalves
    // Inodes come in runs: multiplied by the golden ratio they are all over the table.
    let place = Math.imul(low, 0x9e3779b1) >>> 0
    for (place %= places.length; ; place = (place + 1) % places.length) {
      const inode = (places[place]! - 1) / 4 + 2
      if (places[place] === 0 || (old[inode] === low && old[inode + 1] === high)) return place
    }
  }

  #write({ dev, ino, size, mtimeNs, ctimeNs }: FileState): void {
    // What Node reads as signed numbers is stored modulo 2^64. Ten times as fast as the methods of Buffer.
    const words = this.#words
    words[0] = dev
    words[1] = ino
    words[2] = size
    words[3] = mtimeNs
    words[4] = ctimeNs
  }
}

function headOf(root: Digest, { narSize, narSha256 }: NarDigest): Buffer {
  const head = Buffer.alloc(HEAD_BYTES)
  head.set(MAGIC)
  head.set(root.bytes, MAGIC.length)
  head.writeBigUInt64LE(narSize, MAGIC.length + BLAKE3_BYTES)
  head.set(narSha256, MAGIC.length + BLAKE3_BYTES + 8)
  return head
}

/** Of a tree that nobody computed the NAR of: no directory has this digest. */
const HEAD_WITHOUT_NAR = headOf(Digest.fromBytes(Buffer.alloc(BLAKE3_BYTES)), {
  narSize: 0n,
  narSha256: Buffer.alloc(32),
})

/** Head and records; empty when there is no such file, or it is not what it was written as. */
async function readChecked(file: string, logger: Logger): Promise<Buffer> {
  const found = await readFile(file).catch((error) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (!found) return Buffer.alloc(0)
  const contents = found.subarray(0, Math.max(0, found.length - BLAKE3_BYTES))
  const isWhole =
    contents.length >= HEAD_BYTES &&
    (contents.length - HEAD_BYTES) % RECORD_BYTES === 0 &&
    equalBytes(contents.subarray(0, MAGIC.length), MAGIC) &&
    equalBytes(view(blake3(contents)), found.subarray(contents.length))
  if (isWhole) return contents
  logger.debug({ file }, 'the import cache is damaged and not used')
  return Buffer.alloc(0)
}

/** Until the rest is within the limit. Temp files of processes that died go as well. */
async function removeOldest(folder: string): Promise<void> {
  const files: { readonly path: string; readonly size: number; readonly mtimeMs: number }[] = []
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined) // another import may have moved or removed it
    if (!found?.isFile()) continue
    const { size, mtimeMs } = found
    if (!name.startsWith('.')) files.push({ path, size, mtimeMs })
    else if (mtimeMs < Date.now() - TEMP_FILE_STALE_MS) await unlink(path).catch(() => {})
  }
  let bytes = files.reduce((sum, { size }) => sum + size, 0)
  for (const { path, size } of files.sort((a, b) => a.mtimeMs - b.mtimeMs)) {
    if (bytes <= IMPORT_CACHE_BYTES_MAX) return
    await unlink(path).catch(() => {})
    bytes -= size
  }
}
