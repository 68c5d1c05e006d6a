import { parse, TomlError } from 'smol-toml'
import { StoreError } from '../../support/errors.ts'
import { COMPOSITION_INSTANCES_MAX } from '../../support/limits.ts'
import type { Role } from './address.ts'

/** A place in a file; lines count from 1. */
export interface Place {
  readonly file: string
  readonly line: number | undefined
}

/** One `[blobservices.<name>]` as it is written. */
export interface WrittenInstance {
  readonly role: Role
  readonly name: string
  readonly type: string
  readonly fields: ReadonlyMap<string, WrittenField>
  readonly place: Place
}

export interface WrittenField {
  readonly value: unknown
  readonly place: Place
}

export type WrittenComposition = Readonly<Record<Role, ReadonlyMap<string, WrittenInstance>>>

/** The sections of a composition file (spec §3.8). */
export const SECTIONS: Readonly<Record<Role, string>> = {
  blobs: 'blobservices',
  directories: 'directoryservices',
  pathInfos: 'pathinfoservices',
}

const ROLES = Object.keys(SECTIONS) as Role[]

/** Reads the text of a composition file. Throws `invalid-argument` with file and line. */
export function parseCompositionFile(file: string, bytes: string): WrittenComposition {
  const text = bytes.replace(/^\uFEFF/, '') // editors of Windows put it there
  const tables = parseToml(file, text)
  const lines = new LineIndex(text)
  for (const section of Object.keys(tables))
    if (!ROLES.some((role) => SECTIONS[role] === section))
      throw invalid(
        { file, line: lines.of([section]) },
        `unknown section ${section}; there are ${Object.values(SECTIONS).join(', ')}`,
      )
  const read = (role: Role) => new Map(readSection(role, tables, file, lines))
  return { blobs: read('blobs'), directories: read('directories'), pathInfos: read('pathInfos') }
}

export function invalid(place: Place, why: string): StoreError {
  const line = place.line === undefined ? '' : `:${place.line}`
  return new StoreError('invalid-argument', `${place.file}${line}: ${why}`)
}

function parseToml(file: string, text: string): Record<string, unknown> {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw invalid({ file, line: error.line }, error.message.split('\n', 1)[0]!)
  }
}

function* readSection(
  role: Role,
  tables: Record<string, unknown>,
  file: string,
  lines: LineIndex,
): Generator<[string, WrittenInstance]> {
  const section = SECTIONS[role]
  const place = (...path: string[]): Place => ({ file, line: lines.of([section, ...path]) })
  const table = tables[section] ?? {}
  if (!isTable(table)) throw invalid(place(), `${section} is no table`)
  if (Object.keys(table).length > COMPOSITION_INSTANCES_MAX)
    throw invalid(place(), `more than ${COMPOSITION_INSTANCES_MAX} instances`)
  for (const [name, instance] of Object.entries(table)) {
    const at = place(name)
    if (!isTable(instance)) throw invalid(at, `${section}.${name} is no table`)
    const { type, ...fields } = instance
    if (typeof type !== 'string') throw invalid(at, `${section}.${name} has no type`)
    const written = Object.entries(fields).map(([key, value]): [string, WrittenField] => [
      key,
      { value, place: place(name, key) },
    ])
    yield [name, { role, name, type, fields: new Map(written), place: at }]
  }
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/** On which line a key stands. The parser does not tell; keys are told from values by how a line begins. */
class LineIndex {
  readonly #lines = new Map<string, number>()

  constructor(text: string) {
    let header: readonly string[] = []
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      const isHeader = /^\s*\[/.test(line)
      const key = isHeader ? line : /^\s*([^=#]+?)\s*=/.exec(line)?.[1]
      const path = key === undefined ? undefined : keyPath(isHeader ? key : `${key} = 0`)
      if (!path) continue
      if (isHeader) header = path
      this.#note(isHeader ? path : [...header, ...path], index + 1)
    }
  }

  /** The line of the key itself, or of what it stands in. */
  of(path: readonly string[]): number | undefined {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(keyOf(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return undefined
  }

  #note(path: readonly string[], line: number): void {
    for (let length = path.length; length > 0; length--) {
      const key = keyOf(path.slice(0, length))
      if (!this.#lines.has(key)) this.#lines.set(key, line)
    }
  }
}

function keyOf(path: readonly string[]): string {
  return JSON.stringify(path)
}

/** The path of the one key in a line; `undefined` where it only looks like one (inside a long string). */
function keyPath(line: string): string[] | undefined {
  try {
    const path: string[] = []
    for (let value: unknown = parse(line); isTable(value); ) {
      const [key] = Object.keys(value)
      if (key === undefined) break
      path.push(key)
      value = value[key]
    }
    return path
  } catch {
    return undefined
  }
}
