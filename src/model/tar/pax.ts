/** Extended headers (pax(1), "pax Header Block"), as far as they say what an entry contains. */
import { view } from '../../support/bytes.ts'

/** What stands in place of the fields of the header behind it. */
export interface PaxFields {
  path?: Uint8Array | undefined
  linkPath?: Uint8Array | undefined
  /** Of what is stored in the archive. */
  size?: number | undefined
  sparse?: PaxSparse | undefined
}

/** Of a sparse file, as GNU tar writes it in its formats 0.0, 0.1 and 1.0. */
export interface PaxSparse {
  /** 1: the map stands in front of the contents. */
  major: number
  minor: number
  path?: Uint8Array | undefined
  size?: number | undefined
  /** Offset and length of each region, one after the other. */
  numbers: number[]
}

/** Applies the records to what is known. Returns what is wrong with them, if something is. */
export function applyPaxRecords(fields: PaxFields, records: Uint8Array): string | undefined {
  for (let at = 0; at < records.length; ) {
    const { length, keyAt } = recordAt(records, at)
    const end = at + length
    if (keyAt === undefined || end > records.length || records[end - 1] !== NEWLINE)
      return 'an extended header that is no list of records'
    const equals = records.indexOf(EQUALS, keyAt)
    if (equals < 0 || equals >= end) return 'a record of an extended header without a value'
    const key = view(records.subarray(keyAt, equals)).toString('latin1')
    const fault = apply(fields, key, records.slice(equals + 1, end - 1))
    if (fault) return fault
    at = end
  }
  return undefined
}

const NEWLINE = 0x0a
const EQUALS = 0x3d
const LENGTH_DIGITS_MAX = 9

/** `<length> <key>=<value>\n`, where the length is that of it all. */
function recordAt(records: Uint8Array, at: number): { length: number; keyAt: number | undefined } {
  const text = view(records.subarray(at, at + LENGTH_DIGITS_MAX + 1)).toString('latin1')
  const [, digits = ''] = /^([1-9][0-9]*) /.exec(text) ?? []
  const length = Number(digits)
  const keyAt = at + digits.length + 1
  return { length, keyAt: digits !== '' && keyAt < at + length ? keyAt : undefined }
}

function apply(fields: PaxFields, key: string, value: Uint8Array): string | undefined {
  // What has no value is as if it had never been said.
  const bytes = value.length > 0 ? value : undefined
  if (key === 'path') fields.path = bytes
  else if (key === 'linkpath') fields.linkPath = bytes
  else if (key === 'size') {
    fields.size = bytes && parseDecimal(bytes)
    if (bytes && fields.size === undefined) return 'a size in an extended header that is no number'
  } else if (key.startsWith(SPARSE_PREFIX)) return applySparse(fields, key, value)
  return undefined
}

const SPARSE_PREFIX = 'GNU.sparse.'

function applySparse(fields: PaxFields, key: string, value: Uint8Array): string | undefined {
  fields.sparse ??= { major: 0, minor: 0, numbers: [] }
  const { sparse } = fields
  const name = key.slice(SPARSE_PREFIX.length)
  if (name === 'name') sparse.path = value
  else if (name === 'map') {
    const numbers = view(value).toString('latin1').split(',').map(parseDigits)
    if (numbers.includes(undefined)) return 'a map of a sparse file that is no list of numbers'
    sparse.numbers = numbers as number[]
  } else {
    const number = parseDecimal(value)
    if (number === undefined) return `${key} in an extended header, which is no number`
    if (name === 'major') sparse.major = number
    else if (name === 'minor') sparse.minor = number
    else if (name === 'size' || name === 'realsize') sparse.size = number
    else if (name === 'offset' || name === 'numbytes') sparse.numbers.push(number)
  }
  return undefined
}

function parseDecimal(bytes: Uint8Array): number | undefined {
  return parseDigits(view(bytes).toString('latin1'))
}

function parseDigits(digits: string): number | undefined {
  const number = /^[0-9]{1,16}$/.test(digits) ? Number(digits) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}
