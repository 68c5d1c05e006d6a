import { Digest } from '../model/castore/digest.ts'
import { StoreError } from '../support/errors.ts'

/** A digest as any command prints it: `blake3-<base64>`, `b3:<base64>`, base64 alone, or 64 hexadecimal digits. */
export function parseDigest(argument: string): Digest {
  if (/^[0-9a-f]{64}$/i.test(argument)) return Digest.fromHex(argument)
  const base64 = argument.replace(/^(?:blake3-|b3:)/, '')
  const bytes = Buffer.from(base64, 'base64')
  // Buffer.from takes what it can read of anything; 32 bytes end in one `=`, which some leave out.
  if (bytes.length === 32 && bytes.toString('base64').replace(/=$/, '') === base64.replace(/=$/, ''))
    return Digest.fromBytes(bytes)
  throw new StoreError(
    'invalid-argument',
    `${argument} is no digest: it is blake3-<base64>, as \`castore ingest\` prints it, or 64 hexadecimal digits`,
  )
}
