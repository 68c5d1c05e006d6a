import { printContentAddress } from '../../../model/nix/content-address.ts'
import { DERIVER_SUFFIX } from '../../../model/nix/narinfo.ts'
import { printNixHash } from '../../../model/nix/nix-hash.ts'
import type { PathInfo } from '../../../model/nix/path-info.ts'
import { printSignature } from '../../../model/nix/signature.ts'
import type { StorePath } from '../../../model/nix/store-path.ts'
import { printable } from '../../../support/bytes.ts'
import { formatBytes, formatCount } from '../../../support/format.ts'
import { PAGES_REFERENCES_MAX } from '../../../support/limits.ts'
import type { Closure } from './closure.ts'
import { type Content, type Html, html } from './html.ts'
import type { Page } from './layout.ts'
import type { Links } from './links.ts'
import { pathTable, plural } from './overview.ts'
import type { Place } from './place.ts'

export interface PathPageParts {
  readonly closure: Closure
  /** What the path holds, rendered. */
  readonly contents: Html
  /** Where the client reached us, such as `http://cache:9000`; `undefined` when that is not known. */
  readonly origin: string | undefined
  /** With which narinfos are signed here, as Nix writes them. */
  readonly publicKeys: readonly string[]
}

/** `/path/<basename>`: everything that is known of one store path, and what it holds. */
export function pathPage(links: Links, pathInfo: PathInfo, parts: PathPageParts): Page {
  const { storePath } = pathInfo
  return {
    title: `${storePath.name} – Nix store`,
    body: html`<h1>${storePath.name}</h1>
<p class="mono copy">${storePath.absolutePath}</p>
<p class="muted">${formatBytes(Number(pathInfo.narSize))} as a NAR, with all it needs ${closureSummary(parts.closure)}.</p>
<h2>Contents</h2>
${parts.contents}
<h2>Get it</h2>
${nixCommand(pathInfo, parts)}
<p><a href="${links.nar(pathInfo)}" download="${storePath.name}.nar">NAR</a> (${formatBytes(Number(pathInfo.narSize))}) ·
<a href="${links.narInfo(storePath)}">narinfo</a> · <a href="${links.listing(storePath)}">listing</a></p>
<h2>About</h2>
${facts(links, pathInfo, parts.closure)}
<h2>References</h2>
${references(links, pathInfo)}`,
  }
}

/** `/path/<basename>/…`: one place inside a store path. */
export function innerPage(links: Links, place: Place, contents: Html): Page {
  const { storePath, inner } = place
  const last = printable(inner.at(-1)!)
  return {
    title: `${last} – ${storePath.name} – Nix store`,
    body: html`<h1>${last}</h1>
${crumbs(links, place)}
${contents}`,
  }
}

/** `/closure/<basename>`: the path and everything it needs. */
export function closurePage(links: Links, { storePath }: PathInfo, closure: Closure): Page {
  const bySize = closure.paths.toSorted((a, b) =>
    a.narSize < b.narSize ? 1 : a.narSize > b.narSize ? -1 : 0,
  )
  return {
    title: `Closure of ${storePath.name} – Nix store`,
    body: html`<h1>Closure of <a href="${links.path(storePath)}">${storePath.name}</a></h1>
<p>${closureSummary(closure)}, the largest first.</p>
${closure.isComplete ? undefined : html`<p class="note">There are more: the search through references stopped at its limit.</p>`}
${missing(closure.missing)}
${pathTable(
  links,
  bySize.map((path) => ({ storePath: path.storePath, narSize: Number(path.narSize) })),
)}`,
  }
}

function crumbs(links: Links, { storePath, inner }: Place): Html {
  const steps = inner.slice(0, -1).map((name, i) => {
    const href = links.path(storePath, inner.slice(0, i + 1))
    return html`<a href="${href}">${printable(name)}</a> / `
  })
  return html`<nav class="crumbs" aria-label="Place"><a href="${links.path(storePath)}">${storePath.name}</a> / ${steps}<span aria-current="page">${printable(inner.at(-1)!)}</span></nav>`
}

function nixCommand({ storePath }: PathInfo, { origin = 'http://…', publicKeys }: PathPageParts): Html {
  const command = `nix-store -r '${storePath.absolutePath}' --option substituters '${origin}'`
  if (publicKeys.length > 0)
    return html`<pre class="copy">${command} --option trusted-public-keys '${publicKeys.join(' ')}'</pre>`
  return html`<pre class="copy">${command} --option require-sigs false</pre>
<p class="muted">Leave out <code>--option require-sigs false</code> where a key that you trust signed this path: then Nix checks it.</p>`
}

function facts(links: Links, pathInfo: PathInfo, closure: Closure): Html {
  const { storePath, narSize, narSha256, deriver, ca, signatures, node } = pathInfo
  const root =
    node.kind === 'symlink'
      ? 'symlink'
      : html`<span class="mono">${node.digest.toString()}</span> (${node.kind})`
  return html`<dl>
${fact('NAR size', bytes(narSize))}
${fact('Closure', html`${closureSummary(closure)} · <a href="${links.closure(storePath)}">list</a>`)}
${fact('NAR hash', mono(printNixHash({ algorithm: 'sha256', digest: narSha256 })))}
${fact('Content address', ca ? mono(printContentAddress(ca)) : 'none: the path depends on how it was built')}
${fact('Deriver', deriver ? mono(`${deriver.absolutePath}${DERIVER_SUFFIX}`) : 'not known')}
${fact('Signatures', signatures.length > 0 ? signatures.map((each) => html`<div class="mono">${printSignature(each)}</div>`) : 'none')}
${fact('Root node', root)}
</dl>`
}

function fact(name: string, value: Content): Html {
  return html`<dt>${name}</dt><dd>${value}</dd>`
}

function references(links: Links, { storePath, references: all }: PathInfo): Html {
  if (all.length === 0) return html`<p>None.</p>`
  const shown = all.slice(0, PAGES_REFERENCES_MAX)
  const rest = all.length - shown.length
  return html`<ul>
${shown.map(
  (
    path,
  ) => html`<li><a href="${links.path(path)}">${path.name}</a>${path.compare(storePath) === 0 ? ' (itself)' : undefined}</li>
`,
)}</ul>
${rest > 0 ? html`<p>And ${formatCount(rest)} more: <a href="${links.narInfo(storePath)}">the narinfo has all</a>.</p>` : undefined}`
}

function closureSummary({ paths, narSize, isComplete, missing: absent }: Closure): string {
  const atLeast = isComplete ? '' : 'at least '
  const notHere = absent.length > 0 ? `; ${plural(absent.length, 'path')} of it not here` : ''
  return `${atLeast}${plural(paths.length, 'path')}, ${formatBytes(Number(narSize))} as NARs${notHere}`
}

function missing(paths: readonly StorePath[]): Content {
  if (paths.length === 0) return undefined
  return html`<p class="note">Referred to, and not here: ${paths.slice(0, PAGES_REFERENCES_MAX).map((path) => html`<span class="mono">${path.toString()}</span> `)}</p>`
}

function bytes(size: bigint): string {
  return size < 1024n
    ? formatBytes(Number(size))
    : `${formatBytes(Number(size))} (${formatCount(size)} bytes)`
}

function mono(text: string): Html {
  return html`<span class="mono">${text}</span>`
}
