/** Narinfos: what is accepted can be rendered, and is then rendered the same for ever. */
import { parseNarInfo } from '../../../src/model/nix/narinfo-parser.ts'
import { renderNarInfo } from '../../../src/model/nix/narinfo-renderer.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { vectors } from '../../support/vectors.ts'
import { check, refusal, type Target } from '../target.ts'

function fuzzNarInfo(input: Uint8Array): string {
  const outcome = refusal(() => parseNarInfo(input))
  if ('words' in outcome) return outcome.words
  const rendered = renderNarInfo(outcome.value)
  const again = refusal(() => parseNarInfo(utf8(rendered)))
  check('value' in again, 'a narinfo that is rendered can be parsed')
  if ('value' in again) check(renderNarInfo(again.value) === rendered, 'a narinfo is rendered the same again')
  const { references, signatures, flags, compression, ca, deriver } = outcome.value
  return `accepted ${Math.min(3, references.length)} ${Math.min(3, signatures.length)} ${[...flags].sort()} ${Math.min(6, compression?.length ?? 0)} ${ca?.kind} ${ca?.algorithm} ${deriver !== undefined}`
}

const NARINFO_WORDS = [
  'StorePath: ',
  'URL: ',
  'Compression: ',
  'FileHash: ',
  'FileSize: ',
  'NarHash: ',
  'NarSize: ',
]
  .concat([
    'References: ',
    'Deriver: ',
    'System: ',
    'Sig: ',
    'CA: ',
    '/nix/store/',
    'sha256:',
    'fixed:r:sha256:',
  ])
  .concat([
    'text:sha256:',
    '.drv',
    'unknown-deriver',
    'none',
    ' ',
    '\n',
    '\r\n',
    ':',
    '18446744073709551616',
    '-1',
  ])
  .map((text) => utf8(text))

export const narinfo: Target = {
  run: fuzzNarInfo,
  words: NARINFO_WORDS,
  seeds: () => {
    const { samples, special } = vectors.narinfo as Record<'samples' | 'special', { text: string }[]>
    return [...samples.slice(0, 5), ...special].map(({ text }) => utf8(text))
  },
}
