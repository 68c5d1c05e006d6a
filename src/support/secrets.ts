/**
 * The one place that knows what of an address nobody should see. Whatever goes into a message, a log or a listing and
 * comes from an address goes through here.
 */
import { percentDecoded } from './percent.ts'

/** Names of options whose values nobody should see on a terminal or in a log. */
const SECRET = /key|secret|token|password|passphrase|credential|sas|^sig$|signature|account/i
/** … but these are no secrets: public keys, and options that say whether and where. */
const PUBLIC = /public|keyfile|_file$|-file$|-path$|skip_signature|service_account$/i

const REDACTED = '***'

function isSecretName(name: string): boolean {
  return SECRET.test(name) && !PUBLIC.test(name)
}

/** An address without its credentials: those before the host, and the values of parameters that sound like some. */
export function withoutSecrets(address: string): string {
  return (
    address
      // To the last of them: a password may have such a sign itself.
      .replace(/\/\/[^/?#\s]*@/g, '//')
      .replace(/([?&])([^=&#\s]+)=([^&#\s]*)/g, (_, mark: string, name: string, value: string) =>
        isSecretName(name) ? `${mark}${name}=${REDACTED}` : `${mark}${name}=${encodedWithoutSecrets(value)}`,
      )
  )
}

/** Layers have addresses in their addresses: `cache:?near=…&far=objectstore%2Bs3%3A…`. */
function encodedWithoutSecrets(value: string): string {
  if (!value.includes('%')) return value
  const inner = percentDecoded(value)
  if (inner === undefined) return value // not encoded
  const shown = withoutSecrets(inner)
  return shown === inner ? value : encodeURIComponent(shown)
}

/** A value of a composition file for people: strings as addresses, tables with their secrets replaced. */
export function shownValue(name: string, value: unknown): string {
  if (isSecretName(name)) return REDACTED
  if (typeof value === 'string') return withoutSecrets(value)
  if (Array.isArray(value)) return value.map((each) => shownValue('', each)).join(' ')
  if (typeof value !== 'object' || value === null) return String(value)
  const entries = Object.entries(value).map(([key, each]) => `${key} = ${shownValue(key, each)}`)
  return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`
}
