import type { Directory } from '../../model/castore/directory.ts'
import type { Entry } from '../../model/castore/node.ts'
import { printable, utf8 } from '../../support/bytes.ts'
import { formatBytes } from '../../support/format.ts'
import { PAGES_ENTRIES } from '../../support/limits.ts'
import type { Content } from './exchange.ts'
import { type Html, html } from './pages/html.ts'
import { encodeName } from './pages/links.ts'

/** A page with a link to each entry. `path`: where the client found the directory, with a slash at its end or without. */
export function listingOf(path: string, directory: Directory): Content {
  return {
    type: 'text/html; charset=utf-8',
    size: undefined,
    cacheControl: 'no-cache',
    isCompressible: true,
    async *read() {
      const title = `Index of ${path}`
      yield bytesOf(html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title></head>
<body>
<h1>${title}</h1>
<table>
${
  path === '/'
    ? undefined
    : html`<tr><td><a href="${linkUp(path)}">../</a></td><td></td></tr>
`
}`)
      const { entries } = directory
      for (let at = 0; at < entries.length; at += PAGES_ENTRIES)
        yield bytesOf(html`${entries.slice(at, at + PAGES_ENTRIES).map((entry) => row(path, entry))}`)
      yield utf8('</table>\n</body>\n</html>\n')
    },
  }
}

/** Links are relative, so that a proxy may serve the site below any prefix. */
function row(path: string, { name, node }: Entry): Html {
  const end = node.kind === 'directory' ? '/' : ''
  // Encoded, the last name of the path cannot begin with what browsers take for a scheme; ./ is for those that have a colon.
  const folder = path.endsWith('/') ? '' : `${path.slice(path.lastIndexOf('/') + 1)}/`
  const size = node.kind === 'file' ? formatBytes(Number(node.size)) : ''
  return html`<tr><td><a href="./${folder}${encodeName(name)}${end}">${printable(name)}${end}</a></td><td>${size}</td></tr>
`
}

function linkUp(path: string): string {
  return path.endsWith('/') ? '../' : './'
}

function bytesOf(markup: Html): Uint8Array {
  return utf8(markup.text)
}
