import { type Content, Html, html } from './html.ts'
import type { Links } from './links.ts'
import { STYLE } from './style.ts'

/** A page before it has its frame. */
export interface Page {
  /** HTTP status; 200 unless said otherwise. */
  readonly status?: number
  readonly title: string
  readonly body: Html
  /** What was searched for, shown in the search field. */
  readonly query?: string
  readonly headers?: Readonly<Record<string, string>>
}

const STYLE_ELEMENT = new Html(`<style>${STYLE}</style>`)

export function renderPage(links: Links, page: Page): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>${page.title}</title>
${STYLE_ELEMENT}
</head>
<body>
<header>
<a class="brand" href="${links.root}">Nix store</a>
<form action="${links.root}search" role="search">
<input type="search" name="q" value="${page.query ?? ''}" placeholder="Name, hash or store path" aria-label="Find store paths by name, hash or path">
<button>Find</button>
</form>
</header>
<main>
${page.body}
</main>
<footer>Served by tvix-store. Also a binary cache for Nix: <a href="${links.root}nix-cache-info">nix-cache-info</a>.</footer>
</body>
</html>
`.text
}

/** Links to the neighbours of a page; nothing where there is only one. */
export function pager(page: number, pages: number, href: (page: number) => string): Content {
  if (pages <= 1) return undefined
  const link = (to: number, text: string, rel?: string) =>
    rel ? html`<a href="${href(to)}" rel="${rel}">${text}</a>` : html`<a href="${href(to)}">${text}</a>`
  return html`<nav class="pages" aria-label="Pages">
<span>Page ${page.toLocaleString('en')} of ${pages.toLocaleString('en')}</span>
${page > 1 ? [link(1, 'First'), ' ', link(page - 1, 'Previous', 'prev')] : undefined}
${page < pages ? [link(page + 1, 'Next', 'next'), ' ', link(pages, 'Last')] : undefined}
</nav>`
}
