import { isUtf8 } from 'node:buffer'
import { hex, printable, utf8, view } from '../../support/bytes.ts'
import { NARINFO_BYTES_MAX } from '../../support/limits.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { parseContentAddress } from './content-address.ts'
import { DERIVER_SUFFIX, type NarInfo, type NarInfoFlag, NO_COMPRESSION, UNKNOWN_DERIVER } from './narinfo.ts'
import { parseNixHash } from './nix-hash.ts'
import { parseSignature } from './signature.ts'
import { StorePath } from './store-path.ts'

const SINGLE_FIELDS = [
  'StorePath',
  'URL',
  'Compression',
  'FileHash',
  'FileSize',
  'NarHash',
  'NarSize',
  'References',
  'Deriver',
  'System',
  'CA',
] as const
type SingleField = (typeof SINGLE_FIELDS)[number]

const DEFAULT_COMPRESSION = 'bzip2'
const U64_MAX = 0xffff_ffff_ffff_ffffn

interface Fields {
  readonly single: ReadonlyMap<SingleField, string>
  readonly signatures: readonly string[]
}

/**
 * Reads a narinfo document (spec §6.5). Lenient where caches of the world differ, and then with a flag. Throws
 * ValidationError `DocumentTooLarge`, `InvalidLine`, `DuplicateField(K)`, `MissingField(K)`, `EmptyField(K)`,
 * `InvalidStorePath(..)`, `UnableToParseSize(K)`, `MissingPrefixForHash(K)`, `UnableToDecodeHash(K)`,
 * `InvalidReference(i)`, `InvalidDeriverStorePath`, `InvalidDeriverStorePathMissingSuffix`,
 * `UnableToParseSignature(i)` or `UnableToParseCA`.
 */
export function parseNarInfo(document: Uint8Array): NarInfo {
  const flags = new Set<NarInfoFlag>()
  const { single, signatures } = splitFields(decodeText(document), flags)
  return {
    storePath: parseStorePath(required(single, 'StorePath')),
    url: required(single, 'URL'),
    compression: parseCompression(single.get('Compression'), flags),
    fileHash: optional(single.get('FileHash'), (text) => parseSha256('FileHash', text)),
    fileSize: optional(single.get('FileSize'), (text) => parseSize('FileSize', text)),
    narSha256: parseNarHash(required(single, 'NarHash'), flags),
    narSize: parseSize('NarSize', required(single, 'NarSize')),
    references: parseReferences(single.get('References'), flags),
    deriver: parseDeriver(single.get('Deriver'), flags),
    system: single.get('System'),
    signatures: signatures.map((text, index) =>
      attempt(`UnableToParseSignature(${index})`, text, parseSignature),
    ),
    ca: optional(single.get('CA'), (text) => attempt('UnableToParseCA', text, parseContentAddress)),
    flags,
  }
}

function decodeText(document: Uint8Array): string {
  if (document.length > NARINFO_BYTES_MAX)
    throw new ValidationError(
      'DocumentTooLarge',
      `narinfo of ${document.length} bytes, more than ${NARINFO_BYTES_MAX}`,
    )
  if (!isUtf8(document)) throw invalid('InvalidLine', 'it is not UTF-8')
  return view(document).toString('utf8')
}

function splitFields(text: string, flags: Set<NarInfoFlag>): Fields {
  const single = new Map<SingleField, string>()
  const signatures: string[] = []
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  for (const line of lines) {
    const colon = line.indexOf(': ')
    if (colon < 0) throw invalid('InvalidLine', `"${shown(line)}" has no colon and space`)
    const key = line.slice(0, colon)
    const value = line.slice(colon + 2)
    if (key === 'Sig') signatures.push(value)
    else if (isSingleField(key)) addField(single, key, value)
    else flags.add('unknown-field')
  }
  return { single, signatures }
}

function isSingleField(key: string): key is SingleField {
  return (SINGLE_FIELDS as readonly string[]).includes(key)
}

function addField(fields: Map<SingleField, string>, key: SingleField, value: string): void {
  if (fields.has(key)) throw invalid(`DuplicateField(${key})`, `${key} is there twice`)
  if (value === '' && key !== 'References') throw invalid(`EmptyField(${key})`, `${key} is empty`)
  fields.set(key, value)
}

function required(fields: ReadonlyMap<SingleField, string>, key: SingleField): string {
  const value = fields.get(key)
  if (value === undefined) throw invalid(`MissingField(${key})`, `${key} is missing`)
  return value
}

function optional<T>(text: string | undefined, parse: (text: string) => T): T | undefined {
  return text === undefined ? undefined : parse(text)
}

function parseStorePath(text: string): StorePath {
  try {
    return StorePath.fromAbsolutePath(text)
  } catch (cause) {
    const variant = cause instanceof ValidationError ? cause.variant : 'unknown'
    throw invalid(`InvalidStorePath(${variant})`, `StorePath "${shown(text)}"`, cause)
  }
}

function parseCompression(text: string | undefined, flags: Set<NarInfoFlag>): string | undefined {
  if (text === undefined) {
    flags.add('compression-default')
    return DEFAULT_COMPRESSION
  }
  return text === NO_COMPRESSION ? undefined : text
}

function parseNarHash(text: string, flags: Set<NarInfoFlag>): Uint8Array {
  const digest = parseSha256('NarHash', text)
  if (text === `sha256:${hex(digest)}`) flags.add('nar-hash-hex')
  return digest
}

/** In every form that Nix takes here, upstream only in nixbase32: caches that write another are of no use to it. */
function parseSha256(key: SingleField, text: string): Uint8Array {
  if (!/^sha256[:-]/.test(text))
    throw invalid(`MissingPrefixForHash(${key})`, `${key} does not begin with sha256:`)
  return attempt(`UnableToDecodeHash(${key})`, text, (hash) => parseNixHash(hash, 'sha256').digest)
}

function parseSize(key: SingleField, text: string): bigint {
  // The length is checked first: making a bigint of a megabyte of digits takes its time.
  const size = /^[0-9]{1,20}$/.test(text) ? BigInt(text) : undefined
  if (size === undefined || size > U64_MAX)
    throw invalid(`UnableToParseSize(${key})`, `${key} "${shown(text)}" is not a number below 2^64`)
  return size
}

function parseReferences(text: string | undefined, flags: Set<NarInfoFlag>): StorePath[] {
  if (text === undefined) flags.add('references-missing')
  if (!text) return []
  const names = text.split(' ')
  if (names.some((name, index) => index > 0 && names[index - 1]! >= name))
    flags.add('references-out-of-order')
  return names.map((name, index) => attempt(`InvalidReference(${index})`, name, StorePath.parse))
}

function parseDeriver(text: string | undefined, flags: Set<NarInfoFlag>): StorePath | undefined {
  if (text === undefined) return undefined
  if (text === UNKNOWN_DERIVER) {
    flags.add('explicit-unknown-deriver')
    return undefined
  }
  if (!text.endsWith(DERIVER_SUFFIX))
    throw invalid(
      'InvalidDeriverStorePathMissingSuffix',
      `Deriver "${shown(text)}" is not a ${DERIVER_SUFFIX}`,
    )
  return attempt('InvalidDeriverStorePath', text.slice(0, -DERIVER_SUFFIX.length), StorePath.parse)
}

function attempt<T>(variant: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text)
  } catch (cause) {
    throw invalid(variant, `"${shown(text)}"`, cause)
  }
}

function shown(text: string): string {
  return printable(utf8(text.slice(0, 300)))
}

function invalid(variant: string, why: string, cause?: unknown): ValidationError {
  const reason = cause instanceof Error ? `: ${cause.message}` : ''
  return new ValidationError(variant, `narinfo: ${why}${reason}`, { cause })
}
