import { StoreError } from '../support/errors.ts'

/** A table of Bigtable and how it is used (spec §3.4). */
export interface BigtableAddress {
  readonly projectId: string
  readonly instance: string
  readonly table: string
  readonly family: string
  readonly isReadOnly: boolean
  /** Connections. */
  readonly channels: number
  /** A request may take this long. */
  readonly timeoutMs: number
  readonly appProfile: string
}

const PARAMETERS = {
  project_id: undefined,
  table_name: undefined,
  family_name: undefined,
  is_read_only: 'false',
  channel_size: '4',
  timeout: '4',
  app_profile_id: 'default',
} as const satisfies Record<string, string | undefined>

type Parameter = keyof typeof PARAMETERS

const CHANNELS_MAX = 64
const TIMEOUT_SECONDS_MAX = 3_600

/** `bigtable://instance?project_id=…&table_name=…&family_name=…`. Throws `invalid-argument` with the reason. */
export function parseBigtableUrl(text: string): BigtableAddress {
  const url = URL.parse(text)
  if (!url?.hostname || url.username || url.port || !['', '/'].includes(url.pathname) || url.hash)
    throw invalid('it is bigtable://, the name of an instance and parameters')
  return bigtableAddress(url.hostname, url.searchParams)
}

/** The same from the fields of a composition file (spec §3.8), which have the names of the parameters. */
function bigtableAddress(instance: string, given: Iterable<readonly [string, string]>): BigtableAddress {
  const parameters = new Map<string, string>()
  for (const [key, value] of given) {
    if (!Object.hasOwn(PARAMETERS, key))
      throw invalid(`unknown parameter ${key}; known are ${Object.keys(PARAMETERS).join(', ')}`)
    if (parameters.has(key)) throw invalid(`the parameter ${key} is given twice`)
    parameters.set(key, value)
  }
  const get = (name: Parameter): string => {
    const value = parameters.get(name) ?? PARAMETERS[name]
    if (!value) throw invalid(`the parameter ${name} is missing`)
    return value
  }
  return {
    projectId: get('project_id'),
    instance,
    table: get('table_name'),
    family: get('family_name'),
    isReadOnly: boolean('is_read_only', get('is_read_only')),
    channels: number('channel_size', get('channel_size'), CHANNELS_MAX),
    timeoutMs: 1000 * number('timeout', get('timeout'), TIMEOUT_SECONDS_MAX),
    appProfile: get('app_profile_id'),
  }
}

function boolean(name: Parameter, text: string): boolean {
  if (text === 'true') return true
  if (text === 'false') return false
  throw invalid(`${name} is true or false`)
}

function number(name: Parameter, text: string, max: number): number {
  const value = Number(text)
  if (/^[1-9][0-9]*$/.test(text) && value <= max) return value
  throw invalid(`${name} is a number from 1 to ${max}`)
}

function invalid(why: string): StoreError {
  return new StoreError('invalid-argument', why)
}
