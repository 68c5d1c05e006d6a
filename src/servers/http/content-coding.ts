/** Content codings (RFC 9110 §8.4): which one a client gets. */

export type ContentCoding = 'zstd' | 'gzip'

/** The better first. */
const CODINGS: readonly ContentCoding[] = ['zstd', 'gzip']

/** The coding that `Accept-Encoding` gives the highest weight, and the better one of equals; `undefined` for none. */
export function negotiateCoding(header: string | undefined): ContentCoding | undefined {
  if (header === undefined) return undefined
  const weights = new Map<string, number>()
  for (const item of header.split(',')) {
    const [coding = '', ...parameters] = item.split(';').map((part) => part.trim().toLowerCase())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    weights.set(coding, weight === undefined ? 1 : Number(weight.slice(2)) || 0)
  }
  const weightOf = (coding: string) => weights.get(coding) ?? weights.get('*') ?? 0
  let best: ContentCoding | undefined
  for (const coding of CODINGS) if (weightOf(coding) > (best ? weightOf(best) : 0)) best = coding
  // A client that says so rather takes the bytes as they are.
  return best && weightOf(best) >= (weights.get('identity') ?? 0) ? best : undefined
}
