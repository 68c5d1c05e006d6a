import { describe, expect, it } from 'vitest'
import {
  parseAddress,
  parsePathInfoAddress,
  type Role,
} from '../../../../src/services/composition/address.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { vectors } from '../../../support/vectors.ts'

interface UrlVector {
  readonly url: string
  readonly ok: boolean
}

/** Where the trees disagree, what one of them accepts is accepted (spec §11.10). */
const ACCEPTED_FOR_THE_OTHER_TREE: Readonly<Record<string, string>> = {
  'grpc+unix:///path/to/somewhere': 'tvix writes it; snix takes the single slash only',
  'redb://': 'in memory for tvix; snix writes redb+memory:',
}

/** What these name exists in the Rust implementation, but not in this build; they are refused as such. */
const NOT_IN_THIS_BUILD = /^(redb(?!:\/\/$|\+memory:$)|cache:)/

function outcome(role: Role, url: string): 'ok' | 'malformed' | 'not in this build' {
  try {
    parseAddress(role, url)
    return 'ok'
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    if (error.code === 'unimplemented') return 'not in this build'
    expect(error.code).toBe('invalid-argument')
    return 'malformed'
  }
}

describe('address vectors', () => {
  const roles = { blob: 'blobs', directory: 'directories', pathinfo: 'pathInfos' } as const
  for (const tree of ['tvix', 'snix_jun2026'])
    for (const [family, role] of Object.entries(roles))
      for (const { url, ok } of vectors.service_urls[tree][family] as UrlVector[])
        it(`${tree} ${role}: ${url}`, () => {
          if (NOT_IN_THIS_BUILD.test(url)) expect(outcome(role, url)).toBe('not in this build')
          else if (url in ACCEPTED_FOR_THE_OTHER_TREE) expect(outcome(role, url)).toBe('ok')
          else expect(outcome(role, url)).toBe(ok ? 'ok' : 'malformed')
        })

  // That nobody answers shows when the channel is opened, not in the address.
  for (const { url, ok } of [
    ...vectors.service_urls.tvix.grpc_channel,
    ...vectors.service_urls.snix_jun2026.grpc_channel_tls,
  ] as UrlVector[])
    if (ok || !url.includes('wait-connect=1'))
      it(`channel: ${url}`, () => {
        expect(outcome('blobs', url)).toBe(ok ? 'ok' : 'malformed')
      })
})

describe('addresses', () => {
  it.each(['memory:', 'memory://', 'MEMORY:'])('%s is memory', (url) => {
    expect(parseAddress('directories', url)).toEqual({ kind: 'memory' })
  })

  it.each([
    ['lmdb:///var/lib/x.lmdb', '/var/lib/x.lmdb'],
    ['lmdb:/var/lib/x.lmdb', '/var/lib/x.lmdb'],
    ['lmdb:///with%20space/%3F%23.lmdb', '/with space/?#.lmdb'],
    ['lmdb:///ümlaut', '/ümlaut'],
  ])('%s is the file %s', (url, path) => {
    expect(parseAddress('pathInfos', url)).toEqual({ kind: 'lmdb', path })
  })

  it.each(['objectstore+file:///srv/blobs', 'objectstore+file:/srv/blobs'])('%s is a folder', (url) => {
    expect(parseAddress('blobs', url)).toEqual({ kind: 'object-file', path: '/srv/blobs' })
  })

  it.each([
    'objectstore+memory:///',
    'objectstore+memory://',
    'objectstore+memory:',
    'objectstore+memory:///x',
  ])('%s is an object store in memory', (url) =>
    expect(parseAddress('blobs', url)).toEqual({ kind: 'object-memory' }),
  )

  it.each(['grpc+unix:/run/s.sock', 'grpc+unix:///run/s.sock?wait-connect=0'])('%s is a socket', (url) => {
    expect(parseAddress('blobs', url)).toMatchObject({ kind: 'grpc', grpc: { target: 'unix:/run/s.sock' } })
  })

  it.each<[Role, string]>([
    ['blobs', ''],
    ['blobs', '/var/lib/blobs'],
    ['blobs', 'objectstore:///x'],
    ['blobs', 'objectstore+file://host/x'],
    ['blobs', 'objectstore+file:///'],
    ['blobs', 'objectstore+file:x'],
    ['blobs', 'objectstore+file:///x?y=z'],
    ['blobs', 'objectstore+ftp:///x'],
    ['blobs', 'objectstore+memory://host'],
    ['blobs', 'lmdb:///x'],
    ['pathInfos', 'objectstore+file:///x'],
    ['directories', 'lmdb://'],
    ['directories', 'lmdb:///'],
    ['directories', 'lmdb:relative'],
    ['directories', 'lmdb://host/x'],
    ['directories', 'lmdb:///x%00'],
    ['directories', 'lmdb:///x%'],
    ['directories', 'lmdb+x:///x'],
    ['directories', 'memory:?x'],
    ['directories', 'grpc:///x'],
    ['directories', 'grpc+ftp://x'],
  ])('malformed for %s: %s', (role, url) => {
    expect(outcome(role, url)).toBe('malformed')
  })

  it('names the address and the forms that are expected', () => {
    expect(() => parseAddress('pathInfos', 'http://foo.example/test')).toThrow(
      'http://foo.example/test is no address for path infos: unknown scheme http; expected memory:, lmdb:///path, bigtable://instance?project_id=…&table_name=…&family_name=…, nix+https://cache, grpc+http://host:port, grpc+https://host:port or grpc+unix:///path',
    )
  })

  const ATTIC = 'nix+http://attic.example/team'
  const NIXOS = 'nix+https://cache.nixos.org'
  const urls = ({ caches }: { caches: readonly { url: URL }[] }) => caches.map(({ url }) => url.href)

  it.each([NIXOS, `${NIXOS} ${ATTIC}`, ` ${NIXOS}\n ${ATTIC}`])('%s are binary caches', (text) => {
    const address = parsePathInfoAddress(text)
    if (address.kind !== 'substituting') throw new Error(address.kind)
    expect(address.near).toBeUndefined()
    expect(urls(address)).toEqual(
      ['https://cache.nixos.org/', 'http://attic.example/team/'].slice(0, address.caches.length),
    )
  })

  it('take a service before binary caches that keeps what comes from them', () => {
    const address = parsePathInfoAddress(`lmdb:///srv/near.lmdb ${NIXOS} ${ATTIC}`)
    expect(address).toMatchObject({ kind: 'substituting', near: { kind: 'lmdb', path: '/srv/near.lmdb' } })
  })

  it.each([`${NIXOS} memory:`, `memory: memory: ${NIXOS}`, `memory: ${NIXOS} memory:`, `redb:///x ${NIXOS}`])(
    'are no such list: %s',
    (text) => expect(() => parsePathInfoAddress(text)).toThrow(StoreError),
  )

  it('may be paths with blanks', () => {
    expect(parsePathInfoAddress('lmdb:///a b')).toEqual({ kind: 'lmdb', path: '/a b' })
  })

  it('tells those who come with redb what to do', () => {
    expect(() => parseAddress('directories', 'redb:///var/lib/x.redb')).toThrow(/use lmdb:\/\/\/path.*gRPC/)
    expect(parseAddress('directories', 'redb://')).toEqual({ kind: 'memory' })
    expect(parseAddress('pathInfos', 'redb+memory:')).toEqual({ kind: 'memory' })
  })

  it.each([
    'objectstore+s3://key:secret@bucket/x?aws_secret_access_key=secret',
    'objectstore+s3://bucket/x?aws_access_key_id=x&aws_secret_acess_key=secret',
    'objectstore+https://me:secret@host.example/x?sig=secret',
  ])('keeps credentials out of its messages: %s', (url) => {
    expect(() => parseAddress('blobs', url)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.not.stringContaining('=secret') }),
    )
    expect(() => parseAddress('blobs', url)).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining(':secret') }),
    )
  })
})
