/**
 * Where pages are. All links are relative, so that a proxy may serve the store below any prefix; and names are bytes,
 * each of which travels as itself or as %XX.
 */
import { encodeNodeMessage } from '../../../model/castore/directory-codec.ts'
import type { PathInfo } from '../../../model/nix/path-info.ts'
import type { StorePath } from '../../../model/nix/store-path.ts'
import { utf8, view } from '../../../support/bytes.ts'

/** A place inside a store path: the names from its root down, none for the root itself. */
export type InnerPath = readonly Uint8Array[]

export class Links {
  /** From the page to `/`: `./` or some `../`. */
  readonly root: string

  /** `path`: of the page that carries the links, as the client asked for it. */
  constructor(path: string) {
    const depth = path.split('/').length - 2
    this.root = depth > 0 ? '../'.repeat(depth) : './'
  }

  /** A page of the overview, the first is 1; with `query` of the paths that it finds. */
  overview(page = 1, query = ''): string {
    const parameters = new URLSearchParams({
      ...(query !== '' && { q: query }),
      ...(page > 1 && { page: `${page}` }),
    })
    const place = query === '' ? this.root : `${this.root}search`
    return parameters.size > 0 ? `${place}?${parameters}` : place
  }

  path(storePath: StorePath, inner: InnerPath = [], page = 1): string {
    return `${this.#inside('path', storePath, inner)}${page > 1 ? `?page=${page}` : ''}`
  }

  /** The contents of a file, to be saved. */
  raw(storePath: StorePath, inner: InnerPath): string {
    return this.#inside('raw', storePath, inner)
  }

  closure(storePath: StorePath): string {
    return this.#inside('closure', storePath, [])
  }

  /** Of the binary cache (spec §7.1). */
  narInfo(storePath: StorePath): string {
    return `${this.root}${hashOf(storePath)}.narinfo`
  }

  listing(storePath: StorePath): string {
    return `${this.root}${hashOf(storePath)}.ls`
  }

  nar({ node, narSize }: PathInfo): string {
    const encoded = view(encodeNodeMessage(new Uint8Array(0), node)).toString('base64url')
    return `${this.root}nar/tvix-castore/${encoded}?narsize=${narSize}`
  }

  #inside(place: string, storePath: StorePath, inner: InnerPath): string {
    return [`${this.root}${place}`, ...[utf8(storePath.toString()), ...inner].map(encodeName)].join('/')
  }
}

/** The 32 characters that a store path begins with. */
export function hashOf(storePath: StorePath): string {
  return storePath.toString().slice(0, 32)
}

const UNRESERVED = /[A-Za-z0-9._~-]/

/** Bytes as one segment of a URL. */
export function encodeName(name: Uint8Array): string {
  let text = ''
  for (const byte of name) {
    const character = String.fromCharCode(byte)
    text += UNRESERVED.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return text
}

/** The bytes of one segment; `undefined` for a `%` without two hexadecimal digits. */
export function decodeName(segment: string): Uint8Array | undefined {
  if (/%(?![0-9A-Fa-f]{2})/.test(segment)) return undefined
  const text = segment.replace(/%(..)/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return Buffer.from(text, 'latin1')
}
