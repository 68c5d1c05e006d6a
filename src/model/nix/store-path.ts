/** The 20-byte digest and the name that make a store path, `/nix/store/<nixbase32 digest>-<name>` (spec §1.11). */
export class StorePath {
  /** 20 bytes: the "output hash" of the protocol. */
  readonly digest: Uint8Array
  readonly name: string

  private constructor(digest: Uint8Array, name: string) {
    this.digest = digest
    this.name = name
  }

  static fromParts(digest: Uint8Array, name: string): StorePath {
    return new StorePath(digest, name)
  }
}
