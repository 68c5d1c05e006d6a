/** An Ed25519 signature over a path's fingerprint, and the name of the key that made it (spec §6.6). */
export interface Signature {
  readonly keyName: string
  /** 64 bytes. */
  readonly bytes: Uint8Array
}
