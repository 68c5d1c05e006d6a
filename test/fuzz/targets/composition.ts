/** Composition files: a graph that can be shown, or a refusal that names the file. */
import { graphOfFile } from '../../../src/services/composition/graph.ts'
import { listGraph } from '../../../src/services/composition/graph-listing.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { check, placeOf, type Target } from '../target.ts'

const FILE = '/etc/composition.toml'

function run(input: Uint8Array): string {
  try {
    const listed = listGraph(graphOfFile(FILE, view(input).toString('utf8')))
    return `accepted ${JSON.stringify(listed).length >> 8}`
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    check(error.message.startsWith(FILE), `a refusal names the file: ${error.message}`)
    return placeOf(error)
  }
}

export const composition: Target = {
  run,
  words: [
    '[blobservices.',
    '[directoryservices.',
    '[pathinfoservices.',
    'root]',
    'default]',
    'near]',
    'type = ',
    '"memory"',
    '"cache"',
    '"combined"',
    '"grpc"',
    '"objectstore"',
    '"lru"',
    '"keyfile-signing"',
    '"packs"',
    'near = ',
    'far = ',
    'url = ',
    'capacity = ',
    '"&near"',
    '"root"',
    '\n',
    '=',
    '"',
    "'",
    '{',
    '}',
    '[',
    ']',
    '__proto__',
    '-1',
    '1e400',
    'true',
  ].map((word) => utf8(word)),
  seeds: () =>
    [
      '[blobservices.root]\ntype = "memory"\n[directoryservices.root]\ntype = "memory"\n[pathinfoservices.root]\ntype = "memory"\n',
      '[blobservices.default]\ntype = "combined"\nnear = "&near"\nfar = "memory://"\n[blobservices.near]\ntype = "memory"\n[directoryservices.default]\ntype = "memory"\n[pathinfoservices.default]\ntype = "lru"\ncapacity = 10\n',
      '[blobservices.root]\ntype = "cache"\nnear = "root"\nfar = "root"\n',
    ].map((text) => utf8(text)),
}
