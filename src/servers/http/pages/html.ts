/**
 * HTML that cannot be broken out of: a template whose values are all escaped, unless they came from such a template
 * themselves. Every name in a store is a stranger's, so there is no other way to make a page.
 */

/** Markup; made by `html` only. */
export class Html {
  readonly text: string

  /** Takes the text as markup: for `html` below, and for what this program's own sources spell out. */
  constructor(text: string) {
    this.text = text
  }
}

export type Content = Html | string | number | undefined | readonly Content[]

/** Values may stand between tags and inside quoted attributes, nowhere else. */
export function html(markup: TemplateStringsArray, ...values: readonly Content[]): Html {
  let text = markup[0]!
  for (const [i, value] of values.entries()) text += render(value) + markup[i + 1]!
  return new Html(text)
}

function render(content: Content): string {
  if (content === undefined) return ''
  if (content instanceof Html) return content.text
  if (typeof content === 'object') return content.map(render).join('')
  return escapeHtml(String(content))
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!)
}
