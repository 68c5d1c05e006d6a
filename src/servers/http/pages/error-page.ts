import type { StorePath } from '../../../model/nix/store-path.ts'
import { printable, utf8 } from '../../../support/bytes.ts'
import { ERROR_TABLE, type StoreError } from '../../../support/errors.ts'
import { html } from './html.ts'
import type { Page } from './layout.ts'
import type { Links } from './links.ts'
import type { Place } from './place.ts'

/** What was asked for cannot be shown: the store, or the way to it, has a fault. */
export function failurePage({ code, message }: StoreError): Page {
  const { http, retryable } = ERROR_TABLE[code]
  return {
    status: http,
    title: 'Not to be shown – Nix store',
    // What nobody foresaw is for the log, not for strangers.
    body: html`<h1>This cannot be shown</h1>
<p>${code === 'internal' ? 'Something went wrong; the log of the server has the details.' : `${message}.`}</p>
${retryable ? html`<p>It may work again in a moment: load this page once more.</p>` : undefined}`,
    ...(retryable && { headers: { 'retry-after': '5' } }),
  }
}

/** No such store path. */
export function unknownPathPage(links: Links, storePath: StorePath, other: StorePath | undefined): Page {
  return notFound(
    html`<p>There is no <span class="mono">${storePath.absolutePath}</span> in this store.</p>
${
  other
    ? html`<p>The path of that hash is <a href="${links.path(other)}">${other.toString()}</a>.</p>`
    : html`<p>Look for others of that name: <a href="${links.overview(1, storePath.name)}">${storePath.name}</a>.</p>`
}`,
  )
}

/** The store path is there, and nothing of that name in it. */
export function unknownPlacePage(links: Links, { storePath, inner }: Place): Page {
  return notFound(
    html`<p>In <a href="${links.path(storePath)}">${storePath.toString()}</a> there is no
<span class="mono">${inner.map(printable).join('/')}</span>.</p>`,
  )
}

/** A hash that no path here has. */
export function unknownHashPage(query: string): Page {
  return notFound(html`<p>No path here has the hash <span class="mono">${query}</span>.</p>`, query)
}

/** An address that stands for nothing. */
export function unknownPage(links: Links, text: string): Page {
  return notFound(
    html`<p><span class="mono">${printable(utf8(text.slice(0, 300)))}</span> is no page here. Paths are below
<span class="mono">/path/&lt;hash&gt;-&lt;name&gt;</span>; <a href="${links.root}">begin at the top</a> or look for a name above.</p>`,
  )
}

function notFound(body: Page['body'], query?: string): Page {
  return {
    status: 404,
    title: 'Not found – Nix store',
    body: html`<h1>Not found</h1>
${body}`,
    ...(query !== undefined && { query }),
  }
}
