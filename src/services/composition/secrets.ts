/** Names of options whose values nobody should see on a terminal or in a log. */
const SECRET = /key|secret|token|password|passphrase|credential|sas|^sig$|signature|account/i
/** … but these are no secrets: public keys, and options that say whether and where. */
const PUBLIC = /public|keyfile|_file$|-file$|-path$|skip_signature|service_account$/i

const REDACTED = '***'

export function isSecretName(name: string): boolean {
  return SECRET.test(name) && !PUBLIC.test(name)
}

/** An address without its credentials: those before the host, and the values of parameters that sound like some. */
export function withoutSecrets(address: string): string {
  return address
    .replace(/\/\/[^/@?#\s]*@/g, '//')
    .replace(/([?&])([^=&#\s]+)=([^&#\s]*)/g, (whole, mark: string, name: string) =>
      isSecretName(name) ? `${mark}${name}=${REDACTED}` : whole,
    )
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
