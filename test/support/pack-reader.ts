/**
 * Reads packs by docs/pack-format.md alone, without the index and without a line of the code that writes them: what an
 * index could be made from again.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

export interface FoundRecord {
  readonly key: string
  readonly contents: Buffer
  readonly pack: string
  readonly offset: number
}

/** All records of a store, pack by pack, in the order in which they lie. `isSalted`: false for a reader that is wrong. */
export function readPacks(root: string, isSalted = true): FoundRecord[] {
  const folder = join(root, 'packs')
  return readdirSync(folder)
    .filter((name) => /^[0-9a-f]{8}\.pack$/.test(name))
    .sort()
    .flatMap((name) => recordsOf(name, readFileSync(join(folder, name)), isSalted))
}

function recordsOf(pack: string, bytes: Buffer, isSalted: boolean): FoundRecord[] {
  const records: FoundRecord[] = []
  if (bytes.toString('latin1', 0, 18) !== 'tvix-store pack 1\n') return records
  const salt = bytes.readUInt32LE(28)
  for (let at = 32; at + 16 <= bytes.length; ) {
    const end = isSalted ? endOfRecord(bytes, at, salt) : endOfRecord(bytes, at, undefined)
    if (end === undefined) {
      at += 8
      continue
    }
    const key = bytes.subarray(at + 16, at + 16 + bytes.readUInt32LE(at + 12))
    const offset = at + 16 + key.length
    records.push({ key: textOf(key), contents: bytes.subarray(offset, end), pack, offset })
    at = Math.ceil(end / 8) * 8
  }
  return records
}

/** `undefined` when no whole record begins there. Without a salt the checksum is not looked at. */
function endOfRecord(bytes: Buffer, at: number, salt: number | undefined): number | undefined {
  if (bytes.toString('latin1', at, at + 4) !== 'tvpr') return undefined
  const end = at + 16 + bytes.readUInt32LE(at + 12) + bytes.readUInt32LE(at + 8)
  if (end > bytes.length) return undefined
  if (salt !== undefined && crc32(bytes.subarray(at + 8, end), salt) !== bytes.readUInt32LE(at + 4))
    return undefined
  return end
}

function textOf(key: Buffer): string {
  const zero = key.indexOf(0)
  if (zero < 0) return key.toString('latin1')
  const digits = key.toString('hex', zero + 1)
  return `${key.toString('latin1', 0, zero)}/${digits.slice(0, 4)}/${digits}`
}
