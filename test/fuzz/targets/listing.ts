/** Listings of NARs (`.ls`): what is accepted is printed the same for ever. */
import { parseListing, printListing } from '../../../src/model/nar/listing-json.ts'
import { equalBytes, utf8 } from '../../../src/support/bytes.ts'
import { check, refusal, type Target } from '../target.ts'

function fuzzListing(input: Uint8Array): string {
  const outcome = refusal(() => parseListing(input))
  if ('words' in outcome) return outcome.words
  const printed = printListing(outcome.value)
  check(equalBytes(printListing(parseListing(printed)), printed), 'a listing is printed the same again')
  return `accepted ${Math.ceil(Math.log2(printed.length))}`
}

const LISTING_WORDS = [
  '{',
  '}',
  '"',
  ':',
  ',',
  '[',
  ']',
  '"version":1',
  '"root":',
  '"type":',
  '"regular"',
  '"symlink"',
]
  .concat([
    '"directory"',
    '"entries":',
    '"target":',
    '"size":',
    '"narOffset":',
    '"executable":true',
    '..',
    '\\u0000',
  ])
  .concat(['1e400', '-1', '9007199254740993', '"__proto__":', 'null'])
  .map((text) => utf8(text))

const LISTING_SEED =
  '{"root":{"entries":{"a":{"executable":true,"narOffset":400,"size":1,"type":"regular"},"b":{"target":"a","type":"symlink"},"c":{"entries":{},"type":"directory"}},"type":"directory"},"version":1}'

export const listing: Target = { run: fuzzListing, words: LISTING_WORDS, seeds: () => [utf8(LISTING_SEED)] }
