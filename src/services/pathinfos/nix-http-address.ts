import { ValidationError } from '../../model/castore/validation-error.ts'
import { VerifyingKey } from '../../model/nix/signing-key.ts'
import { StoreError } from '../../support/errors.ts'
import { percentDecoded } from '../../support/percent.ts'
import { withoutSecrets } from '../../support/secrets.ts'

/** A binary cache as an address names it (spec §3.7). */
export interface NixHttpAddress {
  /** Ends with a slash. */
  readonly url: URL
  /** `undefined`: signatures are not checked. */
  readonly trustedKeys: readonly VerifyingKey[] | undefined
  /** Never fetch contents from a castore service beside the cache. */
  readonly forceDownloadNar: boolean
}

const ADDRESS = /^nix\+(https?:\/\/[^/?#\s][^?#\s]*)(?:\?([^#\s]*))?$/i
const KEY_LISTS = /^(?:trusted-public-keys|trusted_public_keys\[\d+\])$/
const SERVICE_REFERENCES = new Set(['blob_service', 'directory_service'])
/** However its tree names the one service of a kind that there is besides the path infos. */
const OUR_SERVICE = /^[&@]?(?:default|root)$/
const KNOWN = `trusted-public-keys, trusted_public_keys[0], force_download_nar, blob_service and directory_service`

/**
 * Understands `nix+http(s)://host[:port][/path]` with `?trusted-public-keys=<key> <key>` or
 * `trusted_public_keys[0]=<key>`, and `force_download_nar=true`. Throws `invalid-argument`.
 */
export function parseNixHttpAddress(text: string): NixHttpAddress {
  const [, location, query = ''] = ADDRESS.exec(text) ?? []
  if (location === undefined || !URL.canParse(location))
    throw invalid(text, 'it is nix+http://host[:port][/path] or nix+https://…')
  const parameters = [...parseQuery(text, query)]
  const keys = parameters.filter(([name]) => KEY_LISTS.test(name)).map(([, value]) => parseKeys(text, value))
  return {
    url: withSlash(new URL(location)),
    trustedKeys: keys.length === 0 ? undefined : keys.flat(),
    forceDownloadNar: parameters.some(([name, value]) => isForce(text, name, value)),
  }
}

function* parseQuery(text: string, query: string): Generator<[name: string, value: string]> {
  // An ampersand is a part of the name `&root`, too.
  const escaped = query.replace(/=&(?=(?:root|default)(?:&|$))/g, '=%26')
  for (const pair of escaped.split('&').filter((pair) => pair !== '')) {
    const [name = '', ...rest] = pair.split('=')
    const parameter: [string, string] = [decoded(text, name), decoded(text, rest.join('='))]
    checkParameter(text, ...parameter)
    yield parameter
  }
}

/** What is not understood is refused: a misspelt list of keys would otherwise mean that nothing is checked. */
function checkParameter(text: string, name: string, value: string): void {
  if (KEY_LISTS.test(name) || name === 'force_download_nar') return
  if (name === 'trusted_public_keys') throw invalid(text, `write ${name}[0]=… or trusted-public-keys=…`)
  if (!SERVICE_REFERENCES.has(name)) throw invalid(text, `unknown parameter ${name}; there are ${KNOWN}`)
  if (!OUR_SERVICE.test(value))
    throw invalid(
      text,
      `${name} can only be "default" here: the service that the command's other addresses name`,
    )
}

function isForce(text: string, name: string, value: string): boolean {
  if (name !== 'force_download_nar') return false
  if (value !== 'true' && value !== 'false') throw invalid(text, `${name} is true or false`)
  return value === 'true'
}

/**
 * Keys with white space between them. A plus sign is white space in a query, and part of base64: it separates only
 * behind the equals sign that ends every key.
 */
function parseKeys(text: string, list: string): VerifyingKey[] {
  const words = list.split(/(?<==)\+|\s+/).filter((word) => word !== '')
  if (words.length === 0)
    throw invalid(text, 'the list of trusted keys is empty; leave it away to trust the cache')
  try {
    return words.map((word) => VerifyingKey.parse(word))
  } catch (error) {
    if (error instanceof ValidationError) throw invalid(text, error.message)
    throw error
  }
}

function decoded(text: string, encoded: string): string {
  const plain = percentDecoded(encoded)
  if (plain !== undefined) return plain
  throw invalid(text, 'a percent sign is followed by two hexadecimal digits')
}

/** Names below `http://host/path` are `http://host/path/name`, as people mean it and not as URLs are joined. */
function withSlash(url: URL): URL {
  if (!url.pathname.endsWith('/')) url.pathname += '/'
  return url
}

function invalid(text: string, why: string): StoreError {
  const shown = withoutSecrets(text.replace(/\?.*$/s, '')) // the query is long
  return new StoreError('invalid-argument', `${shown} is no address of a binary cache: ${why}`)
}
