/** The layout of packs (docs/pack-format.md). All numbers are little endian. */
import { crc32 } from 'node:zlib'

/** What the file `version` of the folder says. */
export const PACKS_VERSION = 'tvix-store packs 1\n'
export const VERSION_FILE = 'version'
export const INDEX_FILE = 'index.lmdb'
export const PACKS_FOLDER = 'packs'

const PACK_MAGIC = 'tvix-store pack 1\n'
export const PACK_HEAD_BYTES = 32
const SOLE_WRITER_AT = 24
const SALT_AT = 28

/** What a pack begins with. */
export interface PackHead {
  /** What the checksums of its records begin with, so that a record that lies within the contents of another is none. */
  readonly salt: number
  /** It was made by a process that cannot lock files, and nobody else may append to it. */
  readonly hasSoleWriter: boolean
}

export function encodePackHead({ salt, hasSoleWriter }: PackHead): Buffer {
  const bytes = Buffer.alloc(PACK_HEAD_BYTES)
  bytes.write(PACK_MAGIC, 'latin1')
  bytes[SOLE_WRITER_AT] = hasSoleWriter ? 1 : 0
  bytes.writeUInt32LE(salt, SALT_AT)
  return bytes
}

/** `undefined` for what is none. */
export function decodePackHead(bytes: Buffer): PackHead | undefined {
  if (bytes.length < PACK_HEAD_BYTES || bytes.toString('latin1', 0, PACK_MAGIC.length) !== PACK_MAGIC)
    return undefined
  return { salt: bytes.readUInt32LE(SALT_AT), hasSoleWriter: bytes[SOLE_WRITER_AT] !== 0 }
}

export function packName(pack: number): string {
  return `${pack.toString(16).padStart(8, '0')}.pack`
}

/** `undefined` for a file that is no pack. */
export function packOfName(name: string): number | undefined {
  const [, digits] = /^([0-9a-f]{8})\.pack$/.exec(name) ?? []
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

/** Before the key of a record: magic, checksum, length of what is stored, length of the key, two bytes for later. */
export const RECORD_HEAD_BYTES = 16
const RECORD_MAGIC = 0x72707674
const CHECK_AT = 4
const STORED_AT = 8
const KEY_LENGTH_AT = 12
/** Records begin at multiples of this. */
export const RECORD_ALIGNMENT = 8
/** What a record can hold, in bytes. */
export const RECORD_BYTES_MAX = 2 ** 32 - 1

export function aligned(offset: number): number {
  return Math.ceil(offset / RECORD_ALIGNMENT) * RECORD_ALIGNMENT
}

/** What disks take without a detour through memory of the kernel, and memory is divided into. */
export const PAGE_BYTES = 4096

export function wholePages(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}

/** Fills in the head of a record whose key and contents are there; `record` ends where they do. */
export function sealRecord(record: Buffer, keyLength: number, salt: number): void {
  record.writeUInt32LE(RECORD_MAGIC, 0)
  record.writeUInt32LE(record.length - RECORD_HEAD_BYTES - keyLength, STORED_AT)
  record.writeUInt32LE(keyLength, KEY_LENGTH_AT)
  record.writeUInt32LE(crc32(record.subarray(STORED_AT), salt), CHECK_AT)
}

/** What is wrong with the bytes that should be the record of this key, and nothing else; `undefined` when nothing is. */
export function recordFault(record: Buffer, key: Uint8Array, salt: number): string | undefined {
  if (record.readUInt32LE(0) !== RECORD_MAGIC) return 'no record begins there'
  const stored = record.length - RECORD_HEAD_BYTES - key.length
  const isOfKey =
    record.readUInt32LE(KEY_LENGTH_AT) === key.length &&
    record.readUInt32LE(STORED_AT) === stored &&
    record.compare(key, 0, key.length, RECORD_HEAD_BYTES, RECORD_HEAD_BYTES + key.length) === 0
  if (!isOfKey) return 'the record there is another one'
  const isWhole = crc32(record.subarray(STORED_AT), salt) === record.readUInt32LE(CHECK_AT)
  return isWhole ? undefined : 'the record there is damaged'
}
