import { percentDecoded } from '../../support/percent.ts'
import { invalid, type Place, type WrittenField } from './composition-file.ts'
import type { Field } from './kinds.ts'

/** A value and where it stands. */
export interface Setting {
  readonly value: unknown
  readonly place: Place
}

/** The fields of an instance, checked. */
export interface FieldValues {
  readonly settings: ReadonlyMap<string, Setting>
  /** As they are written, in the order in which they count. */
  readonly references: ReadonlyMap<string, { readonly texts: readonly string[]; readonly place: Place }>
}

type Rules = Readonly<Record<string, Field>>

/** Throws `invalid-argument` with the place of what is unknown, missing, or of another type. */
export function checkFields(
  owner: string,
  place: Place,
  rules: Rules,
  written: ReadonlyMap<string, WrittenField>,
): FieldValues {
  const settings = new Map<string, Setting>()
  const references = new Map<string, { texts: readonly string[]; place: Place }>()
  for (const [name, field] of written) {
    const rule = Object.hasOwn(rules, name) ? rules[name]! : undefined
    if (!rule) throw invalid(field.place, `${owner} has the unknown field ${name}; ${listOf(rules)}`)
    const complain = (expected: string) => invalid(field.place, `${owner}: ${name} must be ${expected}`)
    if (rule.type === 'reference' || rule.type === 'references')
      references.set(name, { texts: readReferences(rule, field.value, complain), place: field.place })
    else settings.set(name, { value: checkValue(rule, field.value, complain), place: field.place })
  }
  for (const [name, { required }] of Object.entries(rules))
    if (required && !written.has(name)) throw invalid(place, `${owner} lacks the field ${name}`)
  return { settings, references }
}

function listOf(rules: Rules): string {
  const names = Object.keys(rules)
  return names.length === 0 ? 'it takes none' : `there are ${names.join(', ')}`
}

function checkValue(rule: Field, value: unknown, complain: (expected: string) => Error): unknown {
  if (rule.type === 'text' && typeof value === 'string') return value
  if (rule.type === 'flag' && typeof value === 'boolean') return value
  if (rule.type === 'count' && isCount(value) && (rule.only?.has(value) ?? true)) return value
  if (rule.type === 'texts') return readTexts(value, complain)
  if (rule.type === 'options') return readOptions(value, complain)
  throw complain(
    rule.only?.expected ??
      { text: 'a text in quotes', flag: 'true or false', count: 'a whole number above 0' }[
        rule.type as 'text'
      ],
  )
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0
}

function readTexts(value: unknown, complain: (expected: string) => Error): string[] {
  const texts = typeof value === 'string' ? value.split(/\s+/).filter((word) => word !== '') : value
  if (!Array.isArray(texts) || !texts.every((each) => typeof each === 'string'))
    throw complain('a list of texts in quotes')
  return texts
}

function readOptions(value: unknown, complain: (expected: string) => Error): Record<string, string> {
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : undefined
  const isPlain = (each: unknown) => ['string', 'number', 'boolean'].includes(typeof each)
  if (!entries || Array.isArray(value) || !entries.every(([, each]) => isPlain(each)))
    throw complain('a table of texts')
  return Object.fromEntries(entries.map(([name, each]) => [name, `${each}`]))
}

function readReferences(rule: Field, value: unknown, complain: (expected: string) => Error): string[] {
  if (rule.type === 'reference') {
    if (typeof value === 'string' && value !== '') return [value]
    throw complain('the name of an instance, or an address, in quotes')
  }
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : []
  const isRight = ([key, each]: [string, unknown]) => /^\d{1,15}$/.test(key) && typeof each === 'string'
  if (entries.length === 0 || !entries.every(isRight))
    throw complain('a table with whole numbers as keys and instances (or addresses) as values')
  return entries.toSorted(([a], [b]) => Number(a) - Number(b)).map(([, text]) => text as string)
}

/**
 * The fields of a layer out of its address: `cache:?near=…&far=…`, `priority:?services[0]=…` (spec §3.4). An
 * ampersand may begin a name (`near=&name`).
 */
export function readQuery(address: string, rules: Rules, place: Place): Map<string, WrittenField> {
  const [, rest, query = ''] = /^[^:]*:(?:\/\/)?([^?]*)(?:\?(.*))?$/s.exec(address) ?? []
  if (rest) throw invalid(place, `${rest} has no place there: parameters follow a question mark`)
  const fields = new Map<string, WrittenField>()
  for (const pair of query.replace(/=&(?=[^&=]+(?:&|$))/g, '=%26').split('&')) {
    if (pair === '') continue
    const [key = '', ...value] = pair.split('=')
    const text = decoded(value.join('='), place)
    const [, name = '', index] = /^([^[]*)(?:\[(\d+)\])?$/s.exec(decoded(key, place)) ?? ['', key]
    const known = Object.hasOwn(rules, name) ? rules[name]! : undefined
    const before = fields.get(name)?.value as object | undefined
    if (before && (index === undefined || index in before))
      throw invalid(place, `${decoded(key, place)} is given twice`)
    fields.set(name, {
      value: index === undefined ? typed(known, text) : { ...before, [index]: text },
      place,
    })
  }
  return fields
}

function typed(rule: Field | undefined, text: string): unknown {
  if (rule?.type === 'count') return Number(text)
  if (rule?.type === 'flag') return text === 'true' ? true : text === 'false' ? false : text
  return text
}

function decoded(text: string, place: Place): string {
  const plain = percentDecoded(text)
  if (plain !== undefined) return plain
  throw invalid(place, 'a percent sign is followed by two hexadecimal digits')
}
