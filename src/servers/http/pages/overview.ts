import type { StoreError } from '../../../support/errors.ts'
import { formatBytes, formatCount } from '../../../support/format.ts'
import { PAGES_ROWS } from '../../../support/limits.ts'
import { type Content, type Html, html } from './html.ts'
import { type Page, pager } from './layout.ts'
import { hashOf, type Links } from './links.ts'
import type { Found, NamedPath } from './packed-names.ts'
import type { Snapshot } from './path-index.ts'

/** `/`: what is here. */
export function overviewPage(
  links: Links,
  snapshot: Snapshot,
  { page, origin }: { readonly page: number; readonly origin: string | undefined },
): Page {
  const { names, state } = snapshot
  if (names.length === 0 && state === 'complete') return emptyPage(origin)
  const pages = Math.max(1, Math.ceil(names.length / PAGES_ROWS))
  const shown = Math.min(page, pages)
  const paths = names.slice((shown - 1) * PAGES_ROWS, shown * PAGES_ROWS)
  return {
    title: 'Nix store',
    body: html`<h1>${countOf(snapshot)}</h1>
<p class="muted">${formatBytes(names.narSize)} as NARs, every path counted in full; what paths share is stored once.</p>
${noteOf(snapshot)}
${pathTable(links, paths)}
${pager(shown, pages, (to) => links.overview(to))}`,
  }
}

/** `/search?q=`: the paths that match. */
export function searchPage(
  links: Links,
  snapshot: Snapshot,
  search: { readonly query: string; readonly page: number; readonly found: Found },
): Page {
  const { query, page, found } = search
  const pages = Math.ceil(found.total / PAGES_ROWS)
  const range = pages > 0 && page > pages ? html`<p>There is no page ${page}.</p>` : undefined
  return {
    title: `${query} – Nix store`,
    query,
    body: html`<h1>${found.total === 0 ? 'No path' : plural(found.total, 'path')} for “${query}”</h1>
${noteOf(snapshot)}
${found.total === 0 ? nothingFound(links) : undefined}
${range}
${found.paths.length > 0 ? pathTable(links, found.paths) : undefined}
${pager(Math.min(page, pages), pages, (to) => links.overview(to, query))}`,
  }
}

/** Where the overview would be, on a listener that does not tell what it has. */
export function unlistedPage(): Page {
  return {
    title: 'Nix store',
    body: html`<h1>Paths are not listed here</h1>
<p>This address serves every path that you can name and does not tell which there are. Enter a whole store path, or the 32
characters that it begins with, in the field above.</p>`,
  }
}

export function pathTable(links: Links, paths: readonly NamedPath[]): Html {
  return html`<table>
<caption class="hidden">Store paths</caption>
<thead><tr><th scope="col">Store path</th><th scope="col" class="number">NAR size</th></tr></thead>
<tbody>
${paths.map((path) => pathRow(links, path))}</tbody>
</table>`
}

function pathRow(links: Links, { storePath, narSize }: NamedPath): Html {
  return html`<tr><th scope="row"><a href="${links.path(storePath)}">${storePath.name}</a> <span class="mono hash">${hashOf(storePath)}</span></th><td class="number">${formatBytes(narSize)}</td></tr>
`
}

function emptyPage(origin = 'http://…'): Page {
  return {
    title: 'Nix store',
    body: html`<h1>Nothing here yet</h1>
<p>Put something in, on the machine that holds the store</p>
<pre class="copy">tvix-store import ./result</pre>
<p>or, if uploads are allowed here, from any machine with Nix</p>
<pre class="copy">nix copy --to '${origin}' ./result</pre>
<p>and load this page again.</p>`,
  }
}

function nothingFound(links: Links): Html {
  return html`<p>Every word has to be part of the name, or the beginning of the hash. <a href="${links.root}">All paths</a></p>`
}

function countOf({ names, state }: Snapshot): string {
  const count = plural(names.length, 'store path')
  if (state === 'complete') return count
  return state === 'cut' ? `More than ${count}` : `${count} so far`
}

function noteOf({ state, failure, names }: Snapshot): Content {
  if (state === 'reading')
    return html`<p class="note">The list of paths is still being read. Load this page again to see more.</p>`
  if (state === 'cut')
    return html`<p class="note">There are more paths than are listed and searched here (${formatCount(names.length)}). The others are there
under their own address: enter a whole store path or its hash above.</p>`
  return failure && failureNote(failure)
}

function failureNote(failure: StoreError): Html {
  return html`<p class="note">The list of paths could not be read just now (${failure.message}): this is what was known before. It is tried
again when you load this page.</p>`
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`
}
