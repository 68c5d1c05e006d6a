import { pathComponentFault } from '../../../model/castore/path-component.ts'
import { ValidationError } from '../../../model/castore/validation-error.ts'
import { StorePath } from '../../../model/nix/store-path.ts'
import { decodeName, type InnerPath } from './links.ts'

/** What a request asks for. None of these places is one of the binary cache (spec §7.1). */
export type Route =
  | { readonly kind: 'overview'; readonly query: string; readonly page: number }
  | {
      readonly kind: InsideKind
      readonly storePath: StorePath
      readonly inner: InnerPath
      readonly page: number
    }
  /** A page of ours by its beginning, and none by its rest: `text` is what should be a store path. */
  | { readonly kind: 'malformed'; readonly text: string }

export type InsideKind = 'path' | 'raw' | 'closure'

/** `path`: as the client sent it, percent-encoded. `undefined` when it is no page of ours. */
export function parseRoute(path: string, parameters: URLSearchParams): Route | undefined {
  const page = parsePage(parameters.get('page'))
  if (path === '/') return { kind: 'overview', query: '', page }
  if (path === '/search') return { kind: 'overview', query: parameters.get('q')?.trim() ?? '', page }
  const [, kind, rest] = /^\/(path|raw|closure)\/(.*)$/s.exec(path) ?? []
  if (kind === undefined) return undefined
  return parseInside(kind as InsideKind, rest!, page) ?? { kind: 'malformed', text: rest! }
}

function parseInside(kind: InsideKind, rest: string, page: number): Route | undefined {
  // A slash at the end is what people type.
  const names = rest.replace(/\/$/, '').split('/').map(decodeName)
  if (!names.every((name) => name !== undefined)) return undefined
  const [basename, ...inner] = names
  const storePath = parseStorePath(basename!)
  if (!storePath || inner.some((name) => pathComponentFault(name))) return undefined
  return { kind, storePath, inner, page }
}

/** `undefined` for what is no basename of a store path. */
export function parseStorePath(basename: string | Uint8Array): StorePath | undefined {
  try {
    return StorePath.parse(basename)
  } catch (error) {
    if (error instanceof ValidationError) return undefined
    throw error
  }
}

function parsePage(text: string | null): number {
  return text !== null && /^[1-9][0-9]{0,8}$/.test(text) ? Number(text) : 1
}
