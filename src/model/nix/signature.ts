import { parseNamed, printNamed } from './named-key.ts'

export const SIGNATURE_BYTES = 64

/** An Ed25519 signature over a path's fingerprint, and the name of the key that made it (spec §6.6). */
export interface Signature {
  readonly keyName: string
  /** 64 bytes. */
  readonly bytes: Uint8Array
}

/** From `name:base64`. Throws ValidationError `MissingSeparator`, `InvalidName`, `InvalidSignatureLen` or `DecodeError`. */
export function parseSignature(text: string): Signature {
  const { name, bytes } = parseNamed(text, 'signature', SIGNATURE_BYTES, 'InvalidSignatureLen')
  return { keyName: name, bytes }
}

export function printSignature(signature: Signature): string {
  return printNamed(signature.keyName, signature.bytes)
}
