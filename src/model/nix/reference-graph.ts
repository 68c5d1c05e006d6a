/**
 * Store paths as Nix tells of them in JSON: `exportReferencesGraph` of structured attributes, and `nix path-info
 * --json`. Both name a path's NAR and references, but not its contents.
 */
import { printable, utf8 } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { type ContentAddress, parseContentAddress } from './content-address.ts'
import { parseNixHash } from './nix-hash.ts'
import type { PathInfo } from './path-info.ts'
import { parseSignature, type Signature } from './signature.ts'
import { StorePath } from './store-path.ts'

/** All of a path info but where its contents are in castore. */
export type PathMetadata = Omit<PathInfo, 'node'>

const DERIVATION_SUFFIX = '.drv'

/**
 * From a parsed JSON document (spec §4.1, §4.5), any of: an object with the list under `closure`; the list itself; an
 * object keyed by store path, as Nix writes since 2.19. Throws ValidationError `InvalidReferenceGraph`, naming the
 * entry, and what its fields break.
 */
export function parseReferenceGraph(document: unknown): PathMetadata[] {
  if (Array.isArray(document))
    return document.map((entry, i) => parseReferenceGraphEntry(entry, `entry ${i}`))
  const { closure, ...rest } = record(document, 'the document')
  if (closure !== undefined) {
    if (!Array.isArray(closure)) throw invalid('closure is not a list')
    return closure.map((entry, i) => parseReferenceGraphEntry(entry, `entry ${i} of closure`))
  }
  const keyed = Object.entries(rest)
  if (keyed.length === 0 || !keyed.every(([path]) => path.startsWith('/')))
    throw invalid('it is neither a list of paths nor an object with such a list under "closure"')
  return keyed.map(([path, fields]) =>
    parseReferenceGraphEntry({ ...record(fields, shown(path)), path }, shown(path)),
  )
}

/** One path; of `--jsonl` input, a parsed line. `where` names it in messages. */
export function parseReferenceGraphEntry(entry: unknown, where: string): PathMetadata {
  const fields = record(entry, where)
  const path = text(fields['path'], `${where}: path`)
  const name = (key: string) => `${shown(path)}: ${key}`
  if (fields['valid'] === false)
    throw invalid(`${shown(path)} is not in the store that the graph was made from`)
  const storePath = StorePath.fromAbsolutePath(path)
  return {
    storePath,
    references: list(fields['references'], name('references')).map((item) =>
      StorePath.fromAbsolutePath(item),
    ),
    narSize: parseSize(fields['narSize'], name('narSize')),
    narSha256: parseNixHash(text(fields['narHash'], name('narHash')), 'sha256').digest,
    signatures: parseSignatures(list(fields['signatures'], name('signatures'))),
    deriver: parseDeriver(optionalText(fields['deriver'], name('deriver')), name('deriver')),
    ca: parseCa(optionalText(fields['ca'], name('ca'))),
  }
}

function parseSize(value: unknown, what: string): bigint {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw invalid(`${what} is not a number of bytes`)
  return BigInt(value)
}

function parseSignatures(texts: readonly string[]): Signature[] {
  return texts.map((each) => parseSignature(each))
}

/** Nix writes an empty string where it does not know. */
function parseDeriver(path: string | undefined, what: string): StorePath | undefined {
  if (path === undefined || path === '') return undefined
  const full = path.startsWith('/') ? StorePath.fromAbsolutePath(path) : StorePath.parse(path)
  if (!full.name.endsWith(DERIVATION_SUFFIX)) throw invalid(`${what} is no derivation: ${shown(path)}`)
  return StorePath.fromParts(full.digest, full.name.slice(0, -DERIVATION_SUFFIX.length))
}

function parseCa(ca: string | undefined): ContentAddress | undefined {
  return ca === undefined || ca === '' ? undefined : parseContentAddress(ca)
}

/** Absent and null are an empty list. */
function list(value: unknown, what: string): string[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw invalid(`${what} is not a list`)
  return value.map((item) => text(item, what))
}

function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined || value === null ? undefined : text(value, what)
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string')
    throw invalid(`${what} is ${value === undefined ? 'missing' : 'not a string'}`)
  return value
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is not an object`)
  return value as Record<string, unknown>
}

function shown(path: string): string {
  return printable(utf8(path.slice(0, 300)))
}

function invalid(why: string): ValidationError {
  return new ValidationError('InvalidReferenceGraph', `not a reference graph: ${why}`)
}
