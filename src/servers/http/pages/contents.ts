/** What is inside a store path: a directory to look into, a file to read or save, or a symlink. */
import { isUtf8 } from 'node:buffer'
import type { Digest } from '../../../model/castore/digest.ts'
import type { DirectoryNode, Entry, FileNode, Node, SymlinkNode } from '../../../model/castore/node.ts'
import type { BlobService } from '../../../services/blobs/interface.ts'
import { readBlob } from '../../../services/blobs/read-blob.ts'
import type { DirectoryService } from '../../../services/directories/interface.ts'
import { printable, view } from '../../../support/bytes.ts'
import type { Call } from '../../../support/call.ts'
import { MissingError } from '../../../support/errors.ts'
import { formatBytes, formatCount } from '../../../support/format.ts'
import { PAGES_ENTRIES, PAGES_TEXT_BYTES_MAX } from '../../../support/limits.ts'
import { type Content, type Html, html } from './html.ts'
import { pager } from './layout.ts'
import type { Links } from './links.ts'
import { plural } from './overview.ts'
import { type Place, resolveSymlink } from './place.ts'

export interface ContentsParts {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}

/** The part of a page that shows `node`; `page`: of the entries of a directory. */
export async function renderContents(
  parts: ContentsParts,
  links: Links,
  place: Place,
  node: Node,
  page: number,
  call: Call,
): Promise<Html> {
  if (node.kind === 'directory') return renderDirectory(parts.directories, links, place, node, page, call)
  if (node.kind === 'symlink') return renderSymlink(links, place, node)
  return renderFile(parts.blobs, links, place, node, call)
}

async function renderDirectory(
  directories: DirectoryService,
  links: Links,
  place: Place,
  { digest }: DirectoryNode,
  page: number,
  call: Call,
): Promise<Html> {
  const directory = await directories.get(digest, call)
  if (!directory) throw new MissingError(`directory ${digest}`)
  const { entries } = directory
  if (entries.length === 0) return html`<p>An empty directory.</p>`
  const pages = Math.ceil(entries.length / PAGES_ENTRIES)
  const shown = Math.min(page, pages)
  const rows = entries.slice((shown - 1) * PAGES_ENTRIES, shown * PAGES_ENTRIES)
  return html`<table>
<caption class="hidden">Entries of the directory</caption>
<thead><tr><th scope="col">${plural(entries.length, 'entry', 'entries')}</th><th scope="col" class="number">Size</th><th scope="col" class="mode">Mode</th></tr></thead>
<tbody>
${rows.map((entry) => renderEntry(links, place, entry))}</tbody>
</table>
${pager(shown, pages, (to) => links.path(place.storePath, place.inner, to))}`
}

function renderEntry(links: Links, { storePath, inner }: Place, { name, node }: Entry): Html {
  const place = { storePath, inner: [...inner, name] }
  const size = node.kind === 'file' ? formatBytes(Number(node.size)) : ''
  return html`<tr><th scope="row">${renderName(links, place, name, node)}</th><td class="number">${size}</td><td class="mode mono">${modeOf(node)}</td></tr>
`
}

function renderName(links: Links, place: Place, name: Uint8Array, node: Node): Content {
  const text = printable(name)
  if (node.kind === 'symlink') return [html`${text} → `, renderTarget(links, place, node)]
  const href = links.path(place.storePath, place.inner)
  return html`<a href="${href}">${text}${node.kind === 'directory' ? '/' : ''}</a>`
}

function renderTarget(links: Links, place: Place, { target }: SymlinkNode): Html {
  const text = printable(target)
  const to = resolveSymlink(place, target)
  return to ? html`<a href="${links.path(to.storePath, to.inner)}">${text}</a>` : html`${text}`
}

function renderSymlink(links: Links, place: Place, node: SymlinkNode): Html {
  return html`<p>A symlink to ${renderTarget(links, place, node)}.</p>`
}

const MODES = { directory: 'dr-xr-xr-x', symlink: 'lrwxrwxrwx' } as const

/** As the mount shows it (spec §5.5). */
function modeOf(node: Node): string {
  if (node.kind !== 'file') return MODES[node.kind]
  return node.executable ? '-r-xr-xr-x' : '-r--r--r--'
}

async function renderFile(
  blobs: BlobService,
  links: Links,
  { storePath, inner }: Place,
  node: FileNode,
  call: Call,
): Promise<Html> {
  const exact = node.size < 1024n ? undefined : ` (${formatCount(node.size)} bytes)`
  const facts = html`<p>${node.executable ? 'An executable file' : 'A file'} of ${formatBytes(Number(node.size))}${exact}.
<a href="${links.raw(storePath, inner)}" download>Download</a></p>
<p class="muted mono">${node.digest.toString()}</p>`
  return html`${facts}${await renderText(blobs, node.digest, node.size, call)}`
}

async function renderText(blobs: BlobService, digest: Digest, size: bigint, call: Call): Promise<Content> {
  if (size === 0n) return undefined
  if (size > BigInt(PAGES_TEXT_BYTES_MAX))
    return html`<p class="muted">Text is shown here up to ${formatBytes(PAGES_TEXT_BYTES_MAX)}.</p>`
  const bytes = await readBlob(blobs, digest, Number(size), call)
  if (!bytes) throw new MissingError(`blob ${digest}`)
  if (!isText(bytes)) return html`<p class="muted">No text, so it is not shown.</p>`
  // A parser of HTML drops the first line feed of a `pre`.
  return html`<pre tabindex="0">
${markDirections(view(bytes).toString('utf8'))}</pre>`
}

/** Well-formed UTF-8 without the control characters that text does not have. */
function isText(bytes: Uint8Array): boolean {
  return isUtf8(bytes) && !bytes.some((byte) => byte < 0x20 && !TEXT_CONTROLS.has(byte))
}

/** Tab, line feed, form feed, carriage return, escape (of colours). */
const TEXT_CONTROLS: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0c, 0x0d, 0x1b])

/** A change of writing direction could make a program look like another. */
function markDirections(text: string): string {
  return text.replace(/\p{Bidi_Control}/gu, (character) => {
    const code = character.codePointAt(0)!.toString(16).toUpperCase()
    return `[U+${code.padStart(4, '0')}]`
  })
}
