/**
 * Standard base64 with its padding, in the one spelling that the encoder writes; `undefined` for anything else.
 * Node's own decoder skips what it does not know, and two spellings of one signature would be two signatures.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

export function encodeBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
