import { createHash } from 'node:crypto'

/** All there is to how the pages look; part of every page, so that a page is one request. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --text: #1f2328; --muted: #59636e; --back: #fff; --raised: #f6f8fa; --line: #d1d9e0; --link: #0b5cad;
  --warn-back: #fff4d6; --warn-line: #c79400;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e3e8ed; --muted: #98a2ad; --back: #12161b; --raised: #1b2128; --line: #343c45; --link: #78b7ff;
    --warn-back: #33290f; --warn-line: #a37c14;
  }
}
* { box-sizing: border-box }
body { margin: 0; color: var(--text); background: var(--back); font: 16px/1.5 system-ui, sans-serif }
header, main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding-block: .75rem;
  border-bottom: 1px solid var(--line) }
header form { flex: 1 1 16rem; display: flex; gap: .5rem }
footer { margin-block: 3rem 1.5rem; color: var(--muted); font-size: .875rem }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px }
.brand { font-weight: 600; color: inherit; text-decoration: none }
input, button { font: inherit; color: inherit; padding: .3rem .6rem; border: 1px solid var(--line); border-radius: 6px;
  background: var(--back) }
input { flex: 1; min-width: 0 }
button { background: var(--raised); cursor: pointer }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 1.5rem 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.125rem; margin: 2rem 0 .5rem }
p { margin: .5rem 0 }
code, pre, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .875em }
code, .mono { overflow-wrap: anywhere }
pre { margin: .5rem 0; padding: .75rem 1rem; background: var(--raised); border: 1px solid var(--line);
  border-radius: 6px; overflow-x: auto }
pre.copy { white-space: pre-wrap; overflow-wrap: anywhere }
.copy { user-select: all }
.muted { color: var(--muted) }
.note { padding: .5rem 1rem; background: var(--warn-back); border-left: 4px solid var(--warn-line); border-radius: 4px }
table { width: 100%; border-collapse: collapse }
th, td { padding: .35rem .75rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
thead th { color: var(--muted); font-size: .875rem; font-weight: 600 }
tbody th { width: 100%; font-weight: 400; overflow-wrap: anywhere }
tbody tr:hover { background: var(--raised) }
.hash { float: right; margin-left: 1rem; font-size: .8rem; line-height: 1.875; color: var(--muted) }
.number { text-align: right; white-space: nowrap; padding-inline: 1.5rem 0; font-variant-numeric: tabular-nums }
.mode { white-space: nowrap; padding-right: 0; padding-left: 1.5rem; color: var(--muted) }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35rem 1.5rem; margin: 1rem 0 }
dt { color: var(--muted) }
dd { margin: 0; overflow-wrap: anywhere }
dd .mono { word-break: break-all }
.pages { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0 }
.crumbs { margin: .25rem 0 0; overflow-wrap: anywhere }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
@media (max-width: 40rem) {
  dl { grid-template-columns: minmax(0, 1fr); gap: 0 }
  dd { margin-bottom: .6rem }
  .mode { display: none }
  .hash { float: none; display: block; margin: 0; font-size: .75rem; line-height: 1.5 }
}
`

const STYLE_SHA256 = createHash('sha256').update(STYLE).digest('base64')

/**
 * Nothing is loaded or run but this style: no name or content of a store gets anywhere, even if it could break out
 * of the markup.
 */
export const CONTENT_SECURITY_POLICY = `default-src 'none'; style-src 'sha256-${STYLE_SHA256}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`
