export type HashAlgorithm = 'md5' | 'sha1' | 'sha256' | 'sha512'

/** How a path's name follows from its contents (spec §1.5). Text paths are always sha256. */
export interface ContentAddress {
  readonly kind: 'nar' | 'text' | 'flat'
  readonly algorithm: HashAlgorithm
  /** As long as the algorithm says. */
  readonly digest: Uint8Array
}
