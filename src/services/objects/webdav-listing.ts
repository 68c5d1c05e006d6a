import { StoreError } from '../../support/errors.ts'
import { percentDecoded } from '../../support/percent.ts'

/** A member of a WebDAV folder, or the folder itself. */
export interface WebdavEntry {
  /** Decoded, absolute on its server; that of a folder ends with a slash. */
  readonly path: string
  readonly isFolder: boolean
}

/**
 * The resources of a multi-status answer to PROPFIND (RFC 4918 §13), whatever prefix its names carry. No XML parser:
 * of the document we want two elements, whose contents are a URL and nothing. A resource that cannot be understood is
 * left out, as names are that cannot be ours; `corrupt` for a document of another kind, or a part of one.
 */
export function parseMultiStatus(xml: string, base: URL): WebdavEntry[] {
  // Its end is in the last few bytes: a document that was cut off is half a listing.
  if (!MULTISTATUS_END.test(xml.slice(-MULTISTATUS_END_CHARACTERS)))
    throw new StoreError('corrupt', 'the answer is no listing of WebDAV')
  // By their beginnings, in one pass: they do not nest.
  const [, ...responses] = xml.split(/<(?:[\w-]+:)?response[\s>]/)
  return responses.flatMap((response) => {
    const [, href] = /<(?:[\w-]+:)?href[^<>]*>([^<]*)</.exec(response) ?? []
    const path = href === undefined ? undefined : pathOf(href.trim(), base)
    if (path === undefined) return []
    const isFolder = /<(?:[\w-]+:)?collection\s*(?:\/>|>)/.test(response)
    return [{ path: isFolder && !path.endsWith('/') ? `${path}/` : path, isFolder }]
  })
}

const MULTISTATUS_END = /<(?:\/(?:[\w-]+:)?multistatus\s*|(?:[\w-]+:)?multistatus[^<>]*\/)>\s*$/
/** Enough for its name, its namespaces and white space behind it. */
const MULTISTATUS_END_CHARACTERS = 1_000

function pathOf(href: string, base: URL): string | undefined {
  const url = URL.parse(href.replaceAll('&amp;', '&'), base.href)
  return url ? percentDecoded(url.pathname) : undefined
}
