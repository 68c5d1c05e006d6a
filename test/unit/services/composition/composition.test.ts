import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { readBlob } from '../../../../src/services/blobs/read-blob.ts'
import { graphOfAddresses, graphOfFile } from '../../../../src/services/composition/graph.ts'
import { listGraph } from '../../../../src/services/composition/graph-listing.ts'
import { KINDS } from '../../../../src/services/composition/kinds.ts'
import { openGraph, openStores } from '../../../../src/services/composition/open-stores.ts'
import { signed } from '../../../../src/services/pathinfos/signing.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { shownValue, withoutSecrets } from '../../../../src/support/secrets.ts'
import { collect } from '../../../support/collect.ts'
import { makePathInfo } from '../../../support/path-infos.ts'
import { recordingLogger } from '../../../support/recording-logger.ts'
import { makeSigningKey, secretKeyText } from '../../../support/signing-keys.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const REST = `
[directoryservices.root]
type = "memory"
[pathinfoservices.root]
type = "memory"
`

/** A file whose blobs are `text` and whose other sections are plain. */
const blobs = (text: string) => graphOfFile('store.toml', `${text}\n${REST}`)

describe('a composition file', () => {
  it('is understood in the dialect with default, bare names and addresses with ://', () => {
    const { blobs: root } = graphOfFile(
      'store.toml',
      `[blobservices.default]
type = "combined"
local = "mine"
remote = "grpc+http://[::1]:8000"
[blobservices.mine]
type = "objectstore"
object_store_url = "file:///var/lib/tvix-store/blobs.object_store"
object_store_options = {}
[directoryservices.default]
type = "memory"
[pathinfoservices.default]
type = "lru"
capacity = 10
`,
    )
    expect(root.label).toBe('blobservices.default')
    expect(root.references.get('local')![0]!.address).toEqual({
      kind: 'object-file',
      path: '/var/lib/tvix-store/blobs.object_store',
    })
    expect(root.references.get('remote')![0]!.address).toMatchObject({ kind: 'grpc' })
  })

  it('is understood in the dialect with root, &names and any address', () => {
    const { blobs: root } = blobs(`[blobservices.root]
type = "cache"
near = "&near"
far = "cache:?near=memory:&far=&near"
[blobservices.near]
type = "memory"`)
    const far = root.references.get('far')![0]!
    expect(far.kind).toBe('cache')
    // Both names lead to one instance.
    expect(far.references.get('far')![0]).toBe(root.references.get('near')![0])
  })

  it('means services in memory by redb without a file', () => {
    const redb = (fields: string) => `[directoryservices.root]\ntype = "redb"\n${fields}\n`
    const rest = '[blobservices.root]\ntype = "memory"\n[pathinfoservices.root]\ntype = "memory"\n'
    for (const fields of ['is_temporary = true', 'is_temporary = true\npath = "/x"', ''])
      expect(graphOfFile('store.toml', redb(fields) + rest).directories.address).toEqual({ kind: 'memory' })
    expect(() => graphOfFile('store.toml', redb('path = "/x"') + rest)).toThrow(
      /store\.toml:1: directoryservices\.root: .*use lmdb/,
    )
  })

  it('may come from an editor of Windows', () => {
    const text = `\uFEFF[blobservices.root]\ntype = "memory"\nx = 1\n${REST}`.replaceAll('\n', '\r\n')
    expect(() => graphOfFile('store.toml', text)).toThrow(
      'store.toml:3: blobservices.root has the unknown field x',
    )
  })

  it.each([
    'priority:?services[10]=memory:&services[9]=lmdb:///x',
    'priority:?services%5B10%5D=memory:&services%5B9%5D=lmdb:///x',
  ])('has layers as addresses: %s', (address) => {
    const { directories } = graphOfFile(
      'store.toml',
      `[blobservices.root]\ntype = "memory"\n[directoryservices.root]\ntype = "read-only"\ninner = "${address}"\n[pathinfoservices.root]\ntype = "memory"\n`,
    )
    const [inner] = directories.references.get('inner')!
    expect(inner!.references.get('services')!.map(({ kind }) => kind)).toEqual(['lmdb', 'memory'])
  })

  it.each(['cache:?near=memory:&near=memory:', 'priority:?services[0]=memory:&services[0]=memory:'])(
    'refuses what an address says twice: %s',
    (address) => {
      expect(() => blobs(`[blobservices.root]\ntype = "read-only"\ninner = "${address}"`)).toThrow(
        'given twice',
      )
    },
  )

  it('orders the services of a priority by number, and not as text', () => {
    const { directories } = graphOfFile(
      'store.toml',
      `[blobservices.root]
type = "memory"
[directoryservices.root]
type = "priority"
services = { 10 = "lmdb:///ten", 9 = "lmdb:///nine" }
[pathinfoservices.root]
type = "memory"`,
    )
    expect(directories.references.get('services')!.map(({ label }) => label)).toEqual([
      'lmdb:///nine',
      'lmdb:///ten',
    ])
  })

  it('lets path infos refer to the other sections, and means their roots where nothing is said', () => {
    const graph = graphOfFile(
      'store.toml',
      `[blobservices.root]
type = "memory"
[blobservices.other]
type = "memory"
[directoryservices.root]
type = "memory"
[pathinfoservices.root]
type = "nix"
base_url = "https://cache.example"
blob_service = "&other"
public_keys = ["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]`,
    )
    expect(graph.pathInfos.references.get('blob_service')![0]!.label).toBe('blobservices.other')
    expect(graph.pathInfos.references.get('directory_service')![0]).toBe(graph.directories)
  })

  const REFUSED: readonly [string, string, RegExp][] = [
    ...[100_000, 256, 8 * 1024 * 1024].map((size): [string, string, RegExp] => [
      `chunks of ${size} bytes`,
      `[blobservices.root]\ntype = "objectstore"\nobject_store_url = "memory:///"\navg_chunk_size = ${size}`,
      /^store\.toml:4: blobservices\.root: avg_chunk_size must be a power of two from 512 to 4194304/,
    ]),
    [
      'more patience than there are timers for',
      '[blobservices.root]\ntype = "combined"\nlocal = "memory:"\nremote = "memory:"\ntimeout = 3000000',
      /^store\.toml:5: blobservices\.root: timeout must be a whole number from 1 to 86400/,
    ],
    ['what is no TOML', '[blobservices.root\ntype = "memory"', /^store\.toml:1: /],
    [
      'an unknown type',
      '[blobservices.root]\ntype = "floppy"',
      /^store\.toml:1: blobservices\.root has the unknown type "floppy"; there are memory, /,
    ],
    ['a type of another section', '[blobservices.root]\ntype = "lmdb"\npath = "/x"', /unknown type "lmdb"/],
    ['a missing type', '[blobservices.root]\nnear = "x"', /^store\.toml:1: blobservices\.root has no type/],
    [
      'an unknown field',
      '[blobservices.root]\ntype = "cache"\n\nnear = "memory:"\nfar = "memory:"\nfurther = "x"',
      /^store\.toml:6: blobservices\.root has the unknown field further; there are near, far, timeout/,
    ],
    [
      'a missing field',
      '# a comment\n[blobservices.root]\ntype = "cache"\nnear = "memory:"',
      /^store\.toml:2: blobservices\.root lacks the field far/,
    ],
    [
      'a field of another type',
      '[blobservices.root]\ntype = "objectstore"\nobject_store_url = 7',
      /^store\.toml:3: blobservices\.root: object_store_url must be a text in quotes/,
    ],
    [
      'a reference to nothing',
      '[blobservices.root]\ntype = "cache"\nnear = "&nar"\nfar = "memory:"',
      /^store\.toml:3: there is no blobservices\.nar; there are: root/,
    ],
    [
      'a circle',
      `[blobservices.root]\ntype = "cache"\nnear = "a"\nfar = "memory:"
[blobservices.a]\ntype = "read-only"\ninner = "&b"
[blobservices.b]\ntype = "read-only"\ninner = "cache:?near=memory:&far=a"`,
      /^store\.toml:5: an instance stands on itself: blobservices\.root → blobservices\.a → blobservices\.b → blobservices\.a/,
    ],
    [
      'an address that is none',
      '[blobservices.root]\ntype = "read-only"\ninner = "objectstore+file:relative"',
      /^store\.toml:3: .*relative/,
    ],
    [
      'a mistake in an instance that nobody uses',
      '[blobservices.root]\ntype = "memory"\n[blobservices.unused]\ntype = "memory"\ncolour = "red"',
      /^store\.toml:5: .*colour/,
    ],
    [
      'an unknown section',
      '[blobservices.root]\ntype = "memory"\n[fruitservices.x]\n',
      /^store\.toml:3: unknown/,
    ],
    ['a missing root', '[blobservices.near]\ntype = "memory"', /no \[blobservices\.root\] \(or \.default\)/],
  ]
  it.each(REFUSED)('is refused with %s', (_, text, message) => {
    expect(() => blobs(text)).toThrow(message)
  })

  it('says where it is when it cannot be read', async () => {
    const addresses = { blobs: '', directories: '', pathInfos: '', composition: '/no/such/file.toml' }
    await expect(openStores(addresses)).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('/no/such/file.toml'),
    })
  })
})

describe('an opened composition', () => {
  it('fills the near side, verified, and serves from it', async () => {
    await using dir = await tempDir()
    await mkdir(join(dir.path, 'far'))
    const file = join(dir.path, 'store.toml')
    await writeFile(
      file,
      `[blobservices.root]
type = "cache"
near = "&near"
far = "&far"
[blobservices.near]
type = "objectstore"
object_store_url = "file://${dir.path}/near"
[blobservices.far]
type = "objectstore"
object_store_url = "file://${dir.path}/far"
avg_chunk_size = 65536
[directoryservices.root]
type = "write-through"
near = { }
`.replace('near = { }', 'near = "memory:"\nfar = "memory:"') +
        '[pathinfoservices.root]\ntype = "write-through"\nnear = "memory:"\nfar = "memory:"\n',
    )
    const contents = utf8('hello, tiers')
    {
      await using far = await openStores({
        blobs: `objectstore+file://${dir.path}/far`,
        directories: 'memory:',
        pathInfos: 'memory:',
      })
      const writer = far.blobs.openWrite()
      await writer.write(contents)
      await writer.close()
    }
    const addresses = { blobs: '', directories: '', pathInfos: '', composition: file }
    await using stores = await openStores(addresses)
    expect(stores.describe).toBe(file)
    expect(Buffer.from((await readBlob(stores.blobs, Digest.of(contents)))!).toString()).toBe('hello, tiers')
    const { hex } = Digest.of(contents)
    await expect(readFile(join(dir.path, 'near/blobs/b3', hex.slice(0, 4), hex))).resolves.toBeDefined()
    await stores.pathInfos.put(makePathInfo('one'))
    expect(await collect(stores.pathInfos.list())).toHaveLength(1)
  })

  it('opens an instance once, however many refer to it', async () => {
    const graph = blobs(`[blobservices.root]
type = "combined"
local = "&a"
remote = "&b"
[blobservices.a]
type = "read-only"
inner = "&shared"
[blobservices.b]
type = "combined"
local = "&shared"
remote = "&shared"
[blobservices.shared]
type = "memory"`)
    await using stores = await openGraph(graph)
    const direct = graphOfFile('x', `[blobservices.root]\ntype = "memory"\n${REST}`)
    await using other = await openGraph(direct)
    expect(await stores.blobs.has(Digest.of(utf8('x')))).toBe(false)
    expect(await other.blobs.has(Digest.of(utf8('x')))).toBe(false)
  })

  it.each([
    ['memory:', 'memory:'],
    ['&tier', 'directoryservices.tier'],
    ['&forgetful', 'directoryservices.forgetful'],
  ])('refuses to write behind what is only in memory: %s', (near, named) => {
    const text = `[directoryservices.root]
type = "write-back"
near = "${near}"
far = "lmdb:///far"
queue = "/queue"
[directoryservices.tier]
type = "cache"
near = "memory:"
far = "lmdb:///far"
[directoryservices.forgetful]
type = "lru"
capacity = 3
[blobservices.root]
type = "memory"
[pathinfoservices.root]
type = "memory"`
    const refused = /directoryservices\.root: write-back needs a near that survives this process/
    expect(() => graphOfFile('store.toml', text)).toThrow(refused)
    expect(() => graphOfFile('store.toml', text)).toThrow(named)
    expect(() => graphOfFile('store.toml', text.replace(`"${near}"`, '"lmdb:///near"'))).not.toThrow()
  })

  it('tells a password to nobody, wherever the address shows up', async () => {
    const password = 'hunter2'
    const nix = `nix+http://user:${password}@127.0.0.1:9`
    const { logger, lines } = recordingLogger()
    const nars = {} as never
    const addresses = { blobs: 'memory:', directories: 'memory:', pathInfos: nix }
    await using stores = await openStores(addresses, { nars, logger })
    const failure = await stores.pathInfos.get(new Uint8Array(20)).then(String, String)
    const wrong = [
      `grpc+http://user:${password}@h:1`,
      `nix+http://user:${password}@h?what=1`,
      `redb://user:${password}@h`,
      `lmdb://user:${password}@h/x`,
      `unknown://user:${password}@h`,
    ]
    const refusals = await Promise.all(
      wrong.map((pathInfos) => openStores({ ...addresses, pathInfos }, { nars }).then(String, String)),
    )
    expect(failure).toContain('127.0.0.1:9')
    for (const text of [
      stores.describe,
      ...Object.values(stores.labels),
      failure,
      ...refusals,
      JSON.stringify(lines),
    ])
      expect(text).not.toContain(password)
  })

  it('names every instance on the way to what cannot be opened', async () => {
    await using dir = await tempDir()
    await writeFile(join(dir.path, 'file'), '')
    const graph = graphOfFile(
      'store.toml',
      `[blobservices.root]
type = "memory"
[directoryservices.root]
type = "cache"
near = "memory:"
far = "&broken"
[directoryservices.broken]
type = "lmdb"
path = "${dir.path}/file/x.lmdb"
[pathinfoservices.root]
type = "memory"`,
    )
    await expect(openGraph(graph)).rejects.toThrow(
      /^directoryservices\.root: directoryservices\.broken: cannot open the database/,
    )
  })
})

describe('what is shown of a graph', () => {
  it('has an origin for every value and no secret', () => {
    const graph = graphOfAddresses(
      { blobs: 'memory:', directories: 'memory:', pathInfos: 'memory:' },
      {
        blobs: { from: 'flag', name: '--blob-service-addr' },
        directories: { from: 'environment', name: 'DIRECTORY_SERVICE_ADDR' },
        pathInfos: { from: 'default' },
      },
    )
    const listed = listGraph(graph)
    expect(listed.blobs.origin).toBe('flag --blob-service-addr')
    expect(listed.directories.origin).toBe('environment DIRECTORY_SERVICE_ADDR')
    expect(listed.pathInfos.origin).toBe('default')
    const { blobs: root } = listGraph(
      blobs('[blobservices.root]\ntype = "objectstore"\nobject_store_url = "memory:///"'),
    )
    expect(root.fields).toEqual([{ name: 'object_store_url', value: 'memory:///', origin: 'store.toml:3' }])
  })

  it.each([
    ['s3://key:secret@bucket/x', 's3://bucket/x'],
    ['s3://b?aws_secret_access_key=abc&aws_region=x', 's3://b?aws_secret_access_key=***&aws_region=x'],
    ['nix+https://c?trusted-public-keys=a:b', 'nix+https://c?trusted-public-keys=a:b'],
    ['grpc+https://h?token-file=/run/t', 'grpc+https://h?token-file=/run/t'],
    ['nix+https://user:p@ss@cache/x', 'nix+https://cache/x'],
    ['grpc+http://user:pass@h:80', 'grpc+http://h:80'],
    ['nix+http://u:v@a nix+http://w:x@b', 'nix+http://a nix+http://b'],
    [
      'cache:?near=memory:&far=objectstore%2Bs3%3A%2F%2Fb%3Faws_secret_access_key%3Dabc',
      `cache:?near=memory:&far=${encodeURIComponent('objectstore+s3://b?aws_secret_access_key=***')}`,
    ],
  ])('hides the secrets of %s', (address, shown) => {
    expect(withoutSecrets(address)).toBe(shown)
  })

  it('hides the secrets of options', () => {
    const options = { aws_secret_access_key: 'abc', region: 'eu' }
    expect(shownValue('object_store_options', options)).toBe('{ aws_secret_access_key = ***, region = eu }')
    expect(shownValue('keyfile', '/run/key')).toBe('/run/key')
  })
})

it('every kind has a role and its references lead somewhere', () => {
  for (const [name, kind] of Object.entries(KINDS))
    for (const [field, rule] of Object.entries(kind.fields))
      if ('writesTo' in kind && kind.writesTo === field) expect(rule.type, name).toBe('reference')
})

describe('raw files and signatures in a composition', () => {
  const KEY = makeSigningKey('trusted-1')

  it('opens packs by type and by address', async () => {
    await using dir = await tempDir()
    const graph = blobs(`[blobservices.root]\ntype = "packs"\npath = "${dir.path}/a b"`)
    expect(graph.blobs.address).toEqual({ kind: 'packs', path: `${dir.path}/a b` })
    let digest: Digest
    {
      await using stores = await openGraph(graph)
      const writer = stores.blobs.openWrite()
      await writer.write(utf8('contents'))
      digest = await writer.close()
    }
    const addresses = { directories: 'memory:', pathInfos: 'memory:' }
    await using again = await openStores({ ...addresses, blobs: `packs://${dir.path}/a%20b` })
    expect(await readBlob(again.blobs, digest)).toEqual(Buffer.from('contents'))
  })

  it('opens a store of raw files by type and by address, and offers them as local files', async () => {
    await using dir = await tempDir()
    const addresses = { directories: 'memory:', pathInfos: 'memory:' }
    const graph = blobs(`[blobservices.root]\ntype = "files"\npath = "${dir.path}/a b"`)
    expect(graph.blobs.address).toEqual({ kind: 'files', path: `${dir.path}/a b` })
    await using stores = await openGraph(graph)
    const writer = stores.blobs.openWrite()
    await writer.write(utf8('contents'))
    const digest = await writer.close()
    await using again = await openStores({ ...addresses, blobs: `files://${dir.path}/a%20b` })
    expect(await readBlob(again.blobs, digest)).toEqual(Buffer.from('contents'))
    await using file = await again.openLocalFile!(digest)
    expect(file?.size).toBe(8)
  })

  it('shows only what a trusted key signed through the layer "verifying"', async () => {
    const verifying = (keys: string) =>
      graphOfFile(
        'store.toml',
        `[blobservices.root]
type = "memory"
[directoryservices.root]
type = "memory"
[pathinfoservices.root]
type = "verifying"
inner = "memory:"
trusted_public_keys = ${keys}`,
      )
    await using stores = await openGraph(verifying(`["${KEY.verifyingKey}"]`))
    const unsigned = makePathInfo('one', { signatures: [] })
    await expect(stores.pathInfos.put(unsigned)).rejects.toMatchObject({ code: 'denied' })
    await stores.pathInfos.put(signed(unsigned, [KEY]))
    expect(await stores.pathInfos.get(unsigned.storePath.digest)).toBeDefined()
    await expect(openGraph(verifying('[]'))).rejects.toThrow('names no key')
    await expect(openGraph(verifying(`["${secretKeyText('trusted-1')}"]`))).rejects.toThrow(
      /trusted public key "trusted-1"(?!.*=)/,
    )
  })
})
