/** Addresses of stores and of listeners: refused by a text that tells no password, or understood. */
import { parseListenAddress } from '../../../src/servers/listen/listen-address.ts'
import { parseAddress, parsePathInfoAddress } from '../../../src/services/composition/address.ts'
import { graphOfAddresses } from '../../../src/services/composition/graph.ts'
import { listGraph } from '../../../src/services/composition/graph-listing.ts'
import { utf8, view } from '../../../src/support/bytes.ts'
import { StoreError } from '../../../src/support/errors.ts'
import { check, placeOf, type Target } from '../target.ts'

const PASSWORD = 'pa55w0rd'
const WITH_PASSWORD = new RegExp(`^[a-z0-9+]+://[^/?#\\s]*:${PASSWORD}@(?!.*${PASSWORD})`, 's')
const MEMORY = { blobs: 'memory:', directories: 'memory:', pathInfos: 'memory:' } as const

const READERS: Readonly<Record<string, (text: string) => unknown>> = {
  blobs: (text) => parseAddress('blobs', text),
  directories: (text) => parseAddress('directories', text),
  'path infos': parsePathInfoAddress,
  listener: parseListenAddress,
  graph: (text) => shown(JSON.stringify(listGraph(graphOfAddresses({ ...MEMORY, blobs: text }))), text),
}

/** Where a password stands in its place, what people are shown tells none of it. */
function shown(text: string, address: string): void {
  if (WITH_PASSWORD.test(address)) check(!text.includes(PASSWORD), `no password is shown: ${text}`)
}

function run(input: Uint8Array): string {
  const text = view(input).toString('utf8')
  return Object.entries(READERS)
    .map(([name, read]) => {
      try {
        read(text)
        return name
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        check(
          ['invalid-argument', 'unimplemented', 'precondition'].includes(error.code),
          `${error.code}: ${error.message}`,
        )
        // A listener has no password, and repeats what it was given.
        if (name !== 'listener') shown(error.message, text)
        return placeOf(error)
      }
    })
    .join('; ')
}

export const address: Target = {
  run,
  words: [
    '://',
    ':',
    '/',
    '?',
    '&',
    '=',
    '@',
    '%2f',
    '%',
    '[::1]',
    ':0',
    ' ',
    '+',
    'grpc+unix',
    'grpc+http',
    'objectstore+',
    's3',
    'gs',
    'az',
    'file',
    'memory',
    'nix+https',
    'lmdb',
    'packs',
    'files',
    'bigtable',
    'region',
    'trusted-public-keys',
    'sd-listen',
    'role=read-only',
    `user:${PASSWORD}@`,
  ].map((word) => utf8(word)),
  seeds: () =>
    [
      'memory:',
      'grpc+http://[::1]:8000?wait-connect=1',
      'grpc+unix:///run/tvix-store.sock',
      'objectstore+file:///var/lib/blobs',
      'objectstore+s3://bucket/prefix?region=eu-west-1&endpoint=http%3A%2F%2Flocalhost%3A9000',
      `objectstore+http://user:${PASSWORD}@host/path`,
      `objectstore+az://container/prefix?account=a`,
      'bigtable://instance?project_id=p&table_name=t&family_name=f&app_profile_id=default',
      'nix+https://cache.nixos.org?trusted-public-keys=cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=',
      'lmdb:///var/lib/pathinfo.lmdb nix+https://cache.nixos.org',
      'sd-listen:http?role=no-list',
      '[::]:8000',
      '@abstract',
    ].map((text) => utf8(text)),
}
