import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { contentAddress } from '../../../../src/model/nix/content-address.ts'
import { fingerprint } from '../../../../src/model/nix/fingerprint.ts'
import type { NarInfo, NarInfoFlag } from '../../../../src/model/nix/narinfo.ts'
import { parseNarInfo } from '../../../../src/model/nix/narinfo-parser.ts'
import { renderNarInfo } from '../../../../src/model/nix/narinfo-renderer.ts'
import { encodeNixbase32 } from '../../../../src/model/nix/nixbase32.ts'
import { VerifyingKey } from '../../../../src/model/nix/signing-key.ts'
import { StorePath } from '../../../../src/model/nix/store-path.ts'
import { hex, utf8 } from '../../../../src/support/bytes.ts'
import { NARINFO_BYTES_MAX } from '../../../../src/support/limits.ts'
import { vectors } from '../../../support/vectors.ts'

const { samples, special, invalid } = vectors.narinfo
const CACHE_KEY = VerifyingKey.parse(vectors.signatures.verify[0].key)
const CURL: string = samples[0].text
const parse = (text: string): NarInfo => parseNarInfo(utf8(text))
const refuses = (text: string | Uint8Array, variant: string) =>
  expect(() => parseNarInfo(typeof text === 'string' ? utf8(text) : text)).toThrow(
    expect.objectContaining({ code: 'invalid-argument', variant }),
  )

interface Sample {
  name: string
  text: string
  fingerprint: string
}

describe('documents of cache.nixos.org', () => {
  test.each(samples as Sample[])('$name comes out as it went in, and its signature holds', (sample) => {
    const info = parse(sample.text)
    expect(info.flags).toEqual(new Set())
    expect(renderNarInfo(info)).toBe(sample.text)
    expect(fingerprint(info)).toBe(sample.fingerprint)
    expect(info.signatures.some((signature) => CACHE_KEY.verify(sample.fingerprint, signature))).toBe(true)
  })
})

describe('unusual documents', () => {
  const FLAGS: Record<string, NarInfoFlag[]> = {
    references_out_of_order: ['references-out-of-order'],
    ca_nar_hash_sha1: [],
    compression_default: ['compression-default'],
    compression_none: [],
    explicit_unknown_deriver: ['explicit-unknown-deriver'],
    nar_hash_hex: ['nar-hash-hex'],
    references_missing: ['references-missing'],
  }
  test.each(special as Sample[])('$name', ({ name, text }) => {
    const info = parse(text)
    expect([...info.flags]).toEqual(FLAGS[name])
    expect(renderNarInfo(info)).toBe(text)
  })

  const specialInfo = (name: string) => parse(special.find((sample: Sample) => sample.name === name).text)

  test('what they say', () => {
    expect(specialInfo('compression_default').compression).toBe('bzip2')
    expect(specialInfo('compression_none').compression).toBeUndefined()
    expect(specialInfo('explicit_unknown_deriver').deriver).toBeUndefined()
    expect(specialInfo('references_missing').references).toEqual([])
    expect(specialInfo('references_out_of_order').references.map((path) => path.name)[0]).toBe('glibc-2.7')
    expect(hex(specialInfo('nar_hash_hex').narSha256)).toBe(
      '60adfd293a4d81ad7cd7e47263cbb3fc846309ef91b154a08ba672b558f94ff3',
    )
    expect(specialInfo('ca_nar_hash_sha1').ca).toMatchObject({ kind: 'nar', algorithm: 'sha1' })
    expect(specialInfo('compression_default').system).toBe('i686-linux')
  })

  test('an unknown field is ignored with a flag', () => {
    expect([...parse(`${CURL}Fancy: yes\n`).flags]).toEqual(['unknown-field'])
  })

  const ZEROS = new Uint8Array(32)
  test.each([
    `sha256:${'0'.repeat(52)}`,
    `sha256:${'0'.repeat(64)}`,
    `sha256:${'A'.repeat(43)}=`,
    `sha256-${'A'.repeat(43)}=`,
  ])('a hash as Nix takes it: %s', (hash) => {
    const info = parse(CURL.replace(/(FileHash|NarHash): .*/g, `$1: ${hash}`))
    expect([info.fileHash, info.narSha256].map((each) => new Uint8Array(each!))).toEqual([ZEROS, ZEROS])
  })

  test('a signature by a key of any name that Nix takes', () => {
    const sig = `my_key+1/x@y:${'A'.repeat(86)}==`
    const info = parse(`${CURL}Sig: ${sig}\n`)
    expect(info.signatures.at(-1)!.keyName).toBe('my_key+1/x@y')
    expect(Buffer.from(renderNarInfo(info)).toString()).toContain(`Sig: ${sig}\n`)
  })

  test('the last line may lack its line break', () => {
    expect(parse(CURL.trimEnd())).toEqual(parse(CURL))
  })

  test('a reference twice in a row is out of order', () => {
    expect([...parse(CURL.replace(/References: (\S+)/, 'References: $1 $1')).flags]).toEqual([
      'references-out-of-order',
    ])
  })
})

describe('refusals', () => {
  test.each(invalid as { what: string; text: string; expected_error: string }[])(
    '$what',
    ({ text, expected_error }) => {
      expect(() => parse(text)).toThrow(
        expect.objectContaining({
          variant: expect.stringMatching(new RegExp(`^${expected_error.replace(/[()]/g, '\\$&')}`)),
        }),
      )
    },
  )

  const ONCE = [
    'StorePath',
    'URL',
    'Compression',
    'FileHash',
    'FileSize',
    'NarHash',
    'NarSize',
    'References',
    'Deriver',
  ]
  test.each(ONCE)('%s twice', (key) => {
    const line = CURL.split('\n').find((line) => line.startsWith(`${key}: `))
    refuses(`${CURL}${line}\n`, `DuplicateField(${key})`)
  })

  test.each(['StorePath', 'URL', 'NarHash', 'NarSize'])('without %s', (key) => {
    refuses(CURL.replace(new RegExp(`^${key}: .*\n`, 'm'), ''), `MissingField(${key})`)
  })

  const replaced = (key: string, value: string) =>
    CURL.replace(new RegExp(`^${key}: .*$`, 'm'), `${key}: ${value}`)
  test.each([
    ['URL', '', 'EmptyField(URL)'],
    ['Compression', '', 'EmptyField(Compression)'],
    ['StorePath', '/nix/store/../../etc/passwd', 'InvalidStorePath(InvalidLength)'],
    ['FileSize', '-1', 'UnableToParseSize(FileSize)'],
    ['NarSize', '18446744073709551616', 'UnableToParseSize(NarSize)'],
    ['NarSize', '+1', 'UnableToParseSize(NarSize)'],
    ['NarSize', '1'.repeat(100_000), 'UnableToParseSize(NarSize)'],
    ['NarHash', 'sha256:uuuu', 'UnableToDecodeHash(NarHash)'],
    ['NarHash', `sha256:${'A'.repeat(64)}`, 'UnableToDecodeHash(NarHash)'],
    ['NarHash', `sha256:${'0'.repeat(32)}`, 'UnableToDecodeHash(NarHash)'],
    ['FileHash', `sha256:${'0'.repeat(63)}`, 'UnableToDecodeHash(FileHash)'],
    ['FileHash', `sha512-${'0'.repeat(86)}==`, 'MissingPrefixForHash(FileHash)'],
    ['FileHash', `sha1:${'0'.repeat(32)}`, 'MissingPrefixForHash(FileHash)'],
    ['References', '0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0  x', 'InvalidReference(1)'],
    ['References', '/nix/store/0jqd0rlxzra1rs38rdxl43yh6rxchgc6-curl-7.82.0', 'InvalidReference(0)'],
    ['Deriver', '5rwxzi7pal3qhpsyfc16gzkh939q1np6-curl', 'InvalidDeriverStorePathMissingSuffix'],
    ['Deriver', 'x.drv', 'InvalidDeriverStorePath'],
  ])('%s: %s', (key, value, variant) => {
    refuses(replaced(key, value), variant)
  })

  test('the number of the bad signature', () => {
    refuses(`${CURL}Sig: a:b\n`, 'UnableToParseSignature(2)')
  })

  test('an empty line, carriage returns, bytes that are not UTF-8', () => {
    refuses(CURL.replace('\n', '\n\n'), 'InvalidLine')
    refuses(CURL.replaceAll('\n', '\r\n'), 'InvalidStorePath(InvalidName)')
    refuses(Buffer.concat([Buffer.from(`${CURL}X: `), Buffer.from([0xff, 0x0a])]), 'InvalidLine')
  })

  test('a document of the limit passes, one byte more does not', () => {
    const padding = (length: number) => `${CURL}X: ${'x'.repeat(length - CURL.length - 4)}\n`
    expect(utf8(padding(NARINFO_BYTES_MAX))).toHaveLength(NARINFO_BYTES_MAX)
    expect(parse(padding(NARINFO_BYTES_MAX)).url).toBe(parse(CURL).url)
    refuses(padding(NARINFO_BYTES_MAX + 1), 'DocumentTooLarge')
  })

  test('a value with a line break is not rendered', () => {
    const info = parse(CURL)
    const signatures = [{ keyName: 'a\nNarSize: 0\nX', bytes: new Uint8Array(64) }]
    for (const forged of [
      { ...info, url: 'x\nURL: y' },
      { ...info, signatures },
    ])
      expect(() => renderNarInfo(forged)).toThrow(expect.objectContaining({ variant: 'InvalidLine' }))
  })
})

describe('properties', () => {
  const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
  const path = fc
    .tuple(bytes(20), fc.stringMatching(/^[A-Za-z0-9+\-_?=.]{1,20}$/))
    .map(([digest, name]) => StorePath.fromParts(digest, name))
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
  const line = fc.stringMatching(/^[!-~]{1,30}$/)
  const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
  const info: fc.Arbitrary<NarInfo> = fc.record({
    storePath: path,
    url: line,
    compression: maybe(fc.constantFrom('xz', 'zstd', 'bzip2')),
    fileHash: maybe(bytes(32)),
    fileSize: maybe(u64),
    narSha256: bytes(32),
    narSize: u64,
    references: fc
      .uniqueArray(path, { maxLength: 5, selector: String })
      .map((paths) => paths.sort((a, b) => a.compare(b))),
    deriver: maybe(path),
    system: maybe(line),
    signatures: fc.array(
      fc.record({ keyName: fc.stringMatching(/^[A-Za-z0-9.-]{1,10}$/), bytes: bytes(64) }),
      {
        maxLength: 3,
      },
    ),
    ca: maybe(bytes(32).map((digest) => contentAddress('nar', 'sha256', digest))),
    flags: fc.constant(new Set<NarInfoFlag>()),
  })

  test('what is rendered is parsed back', () => {
    fc.assert(
      fc.property(info, (info) => {
        const text = renderNarInfo(info)
        const parsed = parse(text)
        expect(renderNarInfo(parsed)).toBe(text)
        expect(fingerprint(parsed)).toBe(fingerprint(info))
        expect(parsed.flags).toEqual(info.flags)
        expect(encodeNixbase32(parsed.narSha256)).toBe(encodeNixbase32(info.narSha256))
        expect([parsed.compression, parsed.fileSize, parsed.system]).toEqual([
          info.compression,
          info.fileSize,
          info.system,
        ])
      }),
    )
  })

  test('mutated documents are parsed, or refused with an error of their own', () => {
    const documents = [...samples, ...special].map((sample: Sample) => utf8(sample.text))
    const mutation = fc.tuple(fc.nat(), fc.nat(255))
    fc.assert(
      fc.property(
        fc.constantFrom(...documents),
        fc.array(mutation, { minLength: 1, maxLength: 4 }),
        (document, mutations) => {
          const mutated = new Uint8Array(document)
          for (const [at, byte] of mutations) mutated[at % mutated.length] = byte
          try {
            renderNarInfo(parseNarInfo(mutated))
          } catch (error) {
            expect(error).toMatchObject({ name: 'ValidationError' })
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})
