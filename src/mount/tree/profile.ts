/**
 * What a workload touched, in order, as text that can be kept beside it and used on other machines and for other
 * versions of the same paths:
 *
 *     tvix-store profile 1
 *     list 4z0g…-hello-2.12/bin
 *     read 0-4096 4z0g…-hello-2.12/bin/hello
 *
 * A path is the basename of a store path and names below it; a byte that is not a printable ASCII character, and `%`,
 * is `%` and two hexadecimal digits. A range is half-open.
 */
import { view } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { PROFILE_ENTRIES_MAX } from '../../support/limits.ts'

export interface ProfileEntry {
  /** The basename of a store path, and the names below it. */
  readonly path: readonly Uint8Array[]
  /** Of a file that was read; absent for a directory that was looked into. */
  readonly range?: { readonly start: number; readonly end: number } | undefined
}

const HEADING = 'tvix-store profile 1'
const SLASH = '/'

export function printProfile(entries: Iterable<ProfileEntry>): string {
  const lines = [HEADING]
  for (const { path, range } of entries) {
    const text = path.map(encodeName).join(SLASH)
    lines.push(range ? `read ${range.start}-${range.end} ${text}` : `list ${text}`)
  }
  return `${lines.join('\n')}\n`
}

/** Throws `invalid-argument` that names the line, `exhausted` for too many of them. `source` is for messages. */
export function parseProfile(text: string, source: string): ProfileEntry[] {
  const [heading, ...lines] = text.replace(/\n$/, '').split('\n')
  if (heading !== HEADING)
    throw new StoreError('invalid-argument', `${source} is no profile: it does not begin with "${HEADING}"`)
  if (lines.length > PROFILE_ENTRIES_MAX)
    throw new StoreError('exhausted', `${source}: more than ${PROFILE_ENTRIES_MAX} lines`)
  return lines.map((line, index) => parseLine(line, `${source}, line ${index + 2}`))
}

const LINE = /^(?:list|read (?<start>\d{1,16})-(?<end>\d{1,16})) (?<path>[!-~]+)$/

function parseLine(line: string, where: string): ProfileEntry {
  const { start, end, path } = LINE.exec(line)?.groups ?? {}
  if (path === undefined)
    throw new StoreError('invalid-argument', `${where}: neither "list PATH" nor "read START-END PATH"`)
  const names = path.split(SLASH).map((name) => decodeName(name, where))
  if (start === undefined) return { path: names }
  const range = { start: Number(start), end: Number(end) }
  if (!Number.isSafeInteger(range.end) || range.start >= range.end)
    throw new StoreError('invalid-argument', `${where}: ${start}-${end} is no range of bytes`)
  return { path: names, range }
}

function encodeName(name: Uint8Array): string {
  let text = ''
  for (const byte of name) {
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x25
    text += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).padStart(2, '0')}`
  }
  return text
}

function decodeName(text: string, where: string): Uint8Array {
  if (text === '' || /%(?![0-9a-f]{2})/.test(text))
    throw new StoreError('invalid-argument', `${where}: the path is malformed`)
  return Buffer.from(
    text.replace(/%(..)/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  )
}

/** What the versions of a store path have in common: `gcc-lib` of `4z0g…-gcc-13.2.0-lib`. */
export function nameWithoutVersion(basename: Uint8Array): string {
  const name = view(basename).toString('latin1').slice(HASH_CHARACTERS)
  // As Nix parses names: a version begins at a dash that no letter follows.
  return name.replace(/-(?![A-Za-z])[^-]*/g, '')
}

/** Of the hash that a basename begins with, and its dash. */
const HASH_CHARACTERS = 33
