/** The paths of a binary cache (spec §7.1). */
import { type NarFileName, parseNarFileName, parseNarInfoFileName } from '../../model/nix/nix-http.ts'
import { decodeNixbase32 } from '../../model/nix/nixbase32.ts'

export type CachePath =
  | { readonly kind: 'greeting' }
  | { readonly kind: 'cache-info' }
  /** A NAR by its root node, in unpadded base64url. */
  | { readonly kind: 'castore-nar'; readonly encoded: string }
  /** A NAR by the hash of its file; without a name for one that is none. */
  | { readonly kind: 'nar-file'; readonly name: NarFileName | undefined }
  /** `outputHash`: 20 bytes. */
  | { readonly kind: 'narinfo' | 'listing'; readonly outputHash: Uint8Array }

const CASTORE_NAR = /^\/nar\/(?:tvix|snix)-castore\/([^/]+)$/
const NAR_FILE = /^\/nar\/([^/]+)$/
const LISTING = /^\/([0-9a-df-np-sv-z]{32})\.ls$/

/** `undefined` for what is no path of a binary cache. */
export function parseCachePath(path: string): CachePath | undefined {
  if (path === '/') return { kind: 'greeting' }
  if (path === '/nix-cache-info') return { kind: 'cache-info' }
  const encoded = CASTORE_NAR.exec(path)?.[1]
  if (encoded !== undefined) return { kind: 'castore-nar', encoded }
  const file = NAR_FILE.exec(path)?.[1]
  if (file !== undefined) return { kind: 'nar-file', name: parseNarFileName(file) }
  const listing = LISTING.exec(path)?.[1]
  if (listing !== undefined) return { kind: 'listing', outputHash: decodeNixbase32(listing) }
  const outputHash = parseNarInfoFileName(path.slice(1))
  return outputHash && { kind: 'narinfo', outputHash }
}

export function methodsOf({ kind }: CachePath): readonly string[] {
  return kind === 'nar-file' || kind === 'narinfo' || kind === 'listing'
    ? ['GET', 'HEAD', 'PUT']
    : ['GET', 'HEAD']
}
