import { createHmac, hash } from 'node:crypto'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

/** Of no body. */
const EMPTY_SHA256 = hash('sha256', '')

/**
 * Signs reads of one region (AWS Signature Version 4, in headers): requests without a query and a body, and with the same
 * few headers, where the SDK's own signer is made for every request there is.
 */
export class S3ReadSigner {
  readonly #region: string
  /** It changes once a day, and with the credentials. */
  #key: { readonly of: string; readonly bytes: Uint8Array } | undefined

  constructor(region: string) {
    this.#region = region
  }

  /** `url`: of one without a query, its path encoded as it is sent. What it gives are all headers that must be sent. */
  headers(
    url: Pick<URL, 'host' | 'pathname'>,
    range: string | undefined,
    credentials: S3Credentials,
    now: Date,
  ): Record<string, string> {
    const { accessKeyId, secretAccessKey, sessionToken } = credentials
    const time = now.toISOString().replace(/[-:]|\.\d+/g, '')
    const day = time.slice(0, 8)
    const scope = `${day}/${this.#region}/s3/aws4_request`
    const sent: Record<string, string> = {
      ...(range !== undefined && { range }),
      'x-amz-content-sha256': EMPTY_SHA256,
      'x-amz-date': time,
      ...(sessionToken !== undefined && { 'x-amz-security-token': sessionToken }),
    }
    const signed = { host: url.host, ...sent }
    const names = Object.keys(signed).join(';')
    const lines = Object.entries(signed).map(([name, value]) => `${name}:${value}`)
    const request = ['GET', url.pathname, '', ...lines, '', names, EMPTY_SHA256].join('\n')
    const text = ['AWS4-HMAC-SHA256', time, scope, hash('sha256', request)].join('\n')
    const signature = createHmac('sha256', this.#keyOf(day, secretAccessKey)).update(text).digest('hex')
    const proof = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`
    return { ...sent, authorization: proof }
  }

  #keyOf(day: string, secret: string): Uint8Array {
    const of = `${day} ${secret}`
    if (this.#key?.of === of) return this.#key.bytes
    let bytes: Uint8Array = Buffer.from(`AWS4${secret}`)
    for (const part of [day, this.#region, 's3', 'aws4_request'])
      bytes = createHmac('sha256', bytes).update(part).digest()
    this.#key = { of, bytes }
    return bytes
  }
}
