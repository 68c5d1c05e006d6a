/** The small texts of Nix: each that is accepted has one reading, and is printed as it was. */
import { parseContentAddress, printContentAddress } from '../../../src/model/nix/content-address.ts'
import { parseNixCacheInfo } from '../../../src/model/nix/nix-cache-info.ts'
import { parseNixHash, printNixHash } from '../../../src/model/nix/nix-hash.ts'
import { parseNarFileName, parseNarInfoFileName } from '../../../src/model/nix/nix-http.ts'
import { decodeNixbase32, encodeNixbase32 } from '../../../src/model/nix/nixbase32.ts'
import { parseSignature, printSignature } from '../../../src/model/nix/signature.ts'
import { VerifyingKey } from '../../../src/model/nix/signing-key.ts'
import { StorePath } from '../../../src/model/nix/store-path.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { check, refusal, type Target } from '../target.ts'

/** A reader of text, and what prints what it read; `undefined` where a value may be written in several ways. */
const READERS: Readonly<Record<string, (text: string) => string | undefined>> = {
  'nar file': (text) => {
    const nar = parseNarFileName(text)
    return nar && `${encodeNixbase32(nar.sha256)}.nar${nar.suffix}`
  },
  'narinfo file': (text) => {
    const hash = parseNarInfoFileName(text)
    return hash && `${encodeNixbase32(hash)}.narinfo`
  },
  base32: (text) => encodeNixbase32(decodeNixbase32(text)),
  'store path': (text) => StorePath.parse(text).toString(),
  signature: (text) => printSignature(parseSignature(text)),
  'content address': (text) => sameForEver(text, (each) => printContentAddress(parseContentAddress(each))),
  hash: (text) => sameForEver(text, (each) => printNixHash(parseNixHash(each))),
  key: (text) => void VerifyingKey.parse(text),
  'cache info': (text) => void parseNixCacheInfo(utf8(text)),
}

/** Some values may be written in several ways, of which one is printed. */
function sameForEver(text: string, print: (text: string) => string): undefined {
  const printed = print(text)
  check(print(printed) === printed, `${printed} is printed the same again`)
}

function run(input: Uint8Array): string {
  const text = view(input).toString('latin1')
  const outcomes: string[] = []
  for (const [name, read] of Object.entries(READERS)) {
    const outcome = refusal(() => read(text))
    if ('words' in outcome) {
      outcomes.push(outcome.place)
      continue
    }
    if (outcome.value !== undefined) check(outcome.value === text, `${name}: "${text}" has one reading`)
    outcomes.push(name)
  }
  return outcomes.join()
}

export const nixText: Target = {
  run,
  words: [
    '.nar',
    '.narinfo',
    '.xz',
    'sha256:',
    'md5:',
    'fixed:',
    'r:',
    'text:',
    '-',
    ':',
    '=',
    'e',
    'StoreDir: /nix/store',
  ].map((text) => utf8(text)),
  seeds: () =>
    [
      `${'1'.repeat(52)}.nar.xz`,
      `${'a'.repeat(32)}.narinfo`,
      `${'a'.repeat(32)}-hello-2.12`,
      `cache.example.org-1:${'A'.repeat(86)}==`,
      `key:${'A'.repeat(43)}=`,
      `fixed:r:sha256:${'0'.repeat(52)}`,
      `sha256-${'A'.repeat(43)}=`,
      `sha1:${'0'.repeat(40)}`,
      'StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n',
    ].map((text) => utf8(text)),
}
