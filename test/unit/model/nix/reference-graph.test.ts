import { describe, expect, test } from 'vitest'
import { parseReferenceGraph, parseReferenceGraphEntry } from '../../../../src/model/nix/reference-graph.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

const { export_references_graph: vector } = vectors
const list = JSON.parse(vector.json) as Record<string, unknown>[]
const [first] = list as [Record<string, unknown>]

describe('exportReferencesGraph', () => {
  test('the vector, as a list and below closure', () => {
    const paths = parseReferenceGraph(list)
    expect(paths.map(({ storePath }) => storePath.absolutePath)).toEqual(list.map(({ path }) => path))
    expect(hex(paths[0]!.narSha256)).toBe(vector.first_entry_nar_sha256_hex)
    expect(paths[0]!.narSize).toBe(1828984n)
    expect(paths[1]!.references.map((path) => path.absolutePath)).toEqual(list[1]!['references'])
    expect(paths[1]).toMatchObject({ signatures: [], deriver: undefined, ca: undefined })
    expect(parseReferenceGraph({ closure: list, outputs: { out: '/x' } })).toEqual(paths)
  })

  test('what nix path-info --json says besides, in the list of old and the object of new', () => {
    const more = {
      ...first,
      narHash: 'sha256-8yYXsNxJEel9/QtaWdIqeovjcPIGhRJYS0xr2mKvYFE=',
      deriver: '/nix/store/7n0mbqydcipkpbxm24fab066lxk68aqk-libunistring-1.1.drv',
      signatures: [
        'cache.nixos.org-1:7guDbfaF2Q29HY0c5axhtuacfxN6uxuEqeUfncDiSvMSAWvfHVMppB89ILqV8FE58pEQ04tSbMnRhR3FGPV0AA==',
      ],
      ca: 'fixed:r:sha256:0lb0mxidlssc9dc15186y9qf72vs5b95jnhbzmyyj4a9vjq1f9pk',
      valid: true,
    }
    const [parsed] = parseReferenceGraph([more])
    expect(parsed!.deriver!.name).toBe('libunistring-1.1')
    expect(parsed!.signatures[0]!.keyName).toBe('cache.nixos.org-1')
    expect(parsed!.ca!.kind).toBe('nar')
    const { path, ...fields } = more as Record<string, unknown>
    expect(parseReferenceGraph({ [path as string]: fields })).toEqual([parsed])
  })

  test('null and absence are the same', () => {
    const sparse = { path: first['path'], narHash: first['narHash'], narSize: first['narSize'] }
    const nulls = { ...sparse, references: null, deriver: null, signatures: null, ca: null }
    expect(parseReferenceGraphEntry(nulls, 'line 1')).toEqual(parseReferenceGraphEntry(sparse, 'line 1'))
    expect(parseReferenceGraphEntry({ ...sparse, deriver: '' }, 'line 1').deriver).toBeUndefined()
  })

  test.each([
    ['a string', 'x', /the document is not an object/],
    ['an empty object', {}, /neither a list of paths nor/],
    ['attributes without a closure', { outputs: {} }, /neither a list of paths nor/],
    ['a closure that is no list', { closure: {} }, /closure is not a list/],
    ['an entry that is no object', [1], /entry 0 is not an object/],
    ['no path', [{}], /entry 0: path is missing/],
    ['a path elsewhere', [{ ...first, path: '/tmp/x' }], /begins with \/nix\/store/],
    ['no hash', [{ ...first, narHash: undefined }], /libunistring-1.1: narHash is missing/],
    ['another hash', [{ ...first, narHash: 'sha1:x' }], /sha256 is expected/],
    ['a size that is none', [{ ...first, narSize: 1.5 }], /narSize is not a number of bytes/],
    ['a reference that is none', [{ ...first, references: ['x'] }], /begins with \/nix\/store/],
    ['a deriver that is none', [{ ...first, deriver: first['path'] }], /deriver is no derivation/],
    ['a path that Nix does not have', [{ path: first['path'], valid: false }], /is not in the store/],
    ['the null of a newer Nix', { [first['path'] as string]: null }, /is not an object/],
  ])('refused: %s', (_, document, message) => {
    expect(() => parseReferenceGraph(document)).toThrow(message)
  })
})
