/** A member of a WebDAV folder, or the folder itself. */
export interface WebdavEntry {
  /** Decoded, absolute on its server; that of a folder ends with a slash. */
  readonly path: string
  readonly isFolder: boolean
}

/**
 * The resources of a multi-status answer to PROPFIND (RFC 4918 §13), whatever prefix its names carry. No XML parser:
 * of the document we want two elements, whose contents are a URL and nothing. What cannot be understood is left out,
 * as names are that cannot be ours.
 */
export function parseMultiStatus(xml: string, base: URL): WebdavEntry[] {
  const responses = xml.matchAll(/<(?:[\w-]+:)?response[\s>](.*?)<\/(?:[\w-]+:)?response>/gs)
  return [...responses].flatMap(([, response = '']) => {
    const [, href] = /<(?:[\w-]+:)?href[^>]*>([^<]*)</.exec(response) ?? []
    const path = href === undefined ? undefined : pathOf(href.trim(), base)
    if (path === undefined) return []
    const isFolder = /<(?:[\w-]+:)?collection\s*(?:\/>|>)/.test(response)
    return [{ path: isFolder && !path.endsWith('/') ? `${path}/` : path, isFolder }]
  })
}

function pathOf(href: string, base: URL): string | undefined {
  const url = URL.parse(href.replaceAll('&amp;', '&'), base.href)
  try {
    return url ? decodeURIComponent(url.pathname) : undefined
  } catch {
    return undefined
  }
}
