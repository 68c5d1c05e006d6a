import fc from 'fast-check'
import { expect, test } from 'vitest'
import { html } from '../../../../../src/servers/http/pages/html.ts'

test('values are escaped, in text and in attributes', () => {
  const evil = `<script>alert("x" & 'y')</script>`
  expect(html`<p title="${evil}">${evil}</p>`.text).toBe(
    `<p title="&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;">&lt;script&gt;alert(&quot;x&quot; &amp; &#39;y&#39;)&lt;/script&gt;</p>`,
  )
})

test('markup stays markup, lists are joined, nothing is nothing', () => {
  const items = ['a', html`<b>${'<'}</b>`, undefined, 3, [html`<i></i>`, '>']]
  expect(html`<ul>${items}</ul>`.text).toBe('<ul>a<b>&lt;</b>3<i></i>&gt;</ul>')
})

test('no text can end an element or an attribute', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(html`${text}`.text).not.toMatch(/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/)
    }),
  )
})
