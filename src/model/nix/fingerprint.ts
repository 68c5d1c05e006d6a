import { encodeNixbase32 } from './nixbase32.ts'
import type { StorePath } from './store-path.ts'

/** What a signature covers; PathInfo and NarInfo both have it. */
export interface Fingerprinted {
  readonly storePath: StorePath
  /** 32 bytes. */
  readonly narSha256: Uint8Array
  /** Bytes; u64. */
  readonly narSize: bigint
  readonly references: readonly StorePath[]
}

/** The text that Nix signs, with the references in their given order (spec §6.6). */
export function fingerprint(path: Fingerprinted): string {
  const references = path.references.map((reference) => reference.absolutePath).join(',')
  const narHash = `sha256:${encodeNixbase32(path.narSha256)}`
  return `1;${path.storePath.absolutePath};${narHash};${path.narSize};${references}`
}
