import { createHash, generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { isStrictEncoding, isStrictPoint } from '../../../../src/model/nix/ed25519-point.ts'
import { parseSignature, printSignature, type Signature } from '../../../../src/model/nix/signature.ts'
import { SigningKey, VerifyingKey } from '../../../../src/model/nix/signing-key.ts'
import { hex } from '../../../../src/support/bytes.ts'
import { vectors } from '../../../support/vectors.ts'

interface Verification {
  key: string
  sig: string
  raw_valid?: boolean
  with_name_check?: boolean
}
interface SigningCase {
  fingerprint: string
  signature_do_not_use?: string
  signature_cache_example_com_1?: string
}
const { signatures } = vectors
const FINGERPRINT: string = signatures.fingerprint
const KEY = VerifyingKey.parse(signatures.verify[0].key)
const SIGNATURE = parseSignature(signatures.verify[0].sig)

describe('verifying', () => {
  test.each(signatures.verify as Verification[])('$key, $sig', ({ key, sig, raw_valid, with_name_check }) => {
    const verified = VerifyingKey.parse(key).verify(FINGERPRINT, parseSignature(sig))
    expect(verified).toBe(with_name_check ?? raw_valid)
  })

  test('no bit of the signature and no other text will do', () => {
    for (let bit = 0; bit < 512; bit++) {
      const bytes = new Uint8Array(SIGNATURE.bytes)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      expect(KEY.verify(FINGERPRINT, { ...SIGNATURE, bytes })).toBe(false)
    }
    expect(KEY.verify(`${FINGERPRINT} `, SIGNATURE)).toBe(false)
    expect(KEY.verify(FINGERPRINT, { ...SIGNATURE, bytes: new Uint8Array(0) })).toBe(false)
  })

  test.each(signatures.verifying_key_ok as { s: string; name: string }[])('key $s', ({ s, name }) => {
    expect(VerifyingKey.parse(s).name).toBe(name)
    expect(VerifyingKey.parse(s).toString()).toBe(s)
  })

  test.each(signatures.verifying_key_fail as { s: string }[])('key $s is refused', ({ s }) => {
    expect(() => VerifyingKey.parse(s)).toThrow(
      expect.objectContaining({
        variant: expect.stringMatching(/^(MissingSeparator|InvalidVerifyingKeyLen)$/),
      }),
    )
  })
})

describe('signatures as text', () => {
  test('parsing and printing', () => {
    const { text, name, bytes_hex } = signatures.signature_json
    const signature = parseSignature(text)
    expect([signature.keyName, hex(signature.bytes)]).toEqual([name, bytes_hex])
    expect(printSignature(signature)).toBe(text)
  })

  test.each(signatures.signature_parse_fail as { why: string; s: string }[])('$why', ({ s }) => {
    expect(() => parseSignature(s)).toThrow(
      expect.objectContaining({ variant: expect.stringMatching(/^Invalid(SignatureLen|Name)$/) }),
    )
  })

  test.each([
    ['no colon', 'abc', 'MissingSeparator'],
    ['url-safe base64', `a:${'_'.repeat(86)}==`, 'DecodeError'],
    ['non-zero spare bits', `a:${'A'.repeat(85)}B==`, 'DecodeError'],
    ['white space inside', `a:${'A'.repeat(40)} ${'A'.repeat(45)}==`, 'DecodeError'],
    ['65 bytes', `a:${'A'.repeat(87)}=`, 'DecodeError'],
    ['line break in the name', `a\nb:${'A'.repeat(86)}==`, 'InvalidName'],
  ])('%s', (_, text, variant) => {
    expect(() => parseSignature(text)).toThrow(expect.objectContaining({ variant }))
  })
})

describe('signing', () => {
  const secrets = Object.fromEntries(
    signatures.keypairs.map(({ secret }: { secret: string }) => [
      secret.split(':')[0],
      SigningKey.parse(secret),
    ]),
  ) as Record<string, SigningKey>

  test.each(signatures.keypairs as { secret: string; public: string }[])(
    '$public',
    ({ secret, public: text }) => {
      expect(SigningKey.parse(secret).verifyingKey.toString()).toBe(text)
    },
  )

  test.each(signatures.sign as SigningCase[])('$what', (vector) => {
    const expected = (vector.signature_do_not_use ?? vector.signature_cache_example_com_1)!
    const key = secrets[expected.split(':')[0]!]!
    const signature = key.sign(vector.fingerprint)
    expect(printSignature(signature)).toBe(expected)
    expect(key.verifyingKey.verify(vector.fingerprint, signature)).toBe(true)
  })

  test.each(signatures.keypair_fail as string[])('%s is refused', (text) => {
    expect(() => SigningKey.parse(text)).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
  })

  test('halves that do not match are refused, and the message does not tell the secret', () => {
    const secret = signatures.keypairs[0].secret as string
    const bytes = Buffer.from(secret.split(':')[1]!, 'base64')
    bytes[40]! ^= 1
    const text = `do.not.use:${bytes.toString('base64')}`
    expect(() => SigningKey.parse(text)).toThrow(expect.objectContaining({ variant: 'MismatchedKeys' }))
    for (const bad of [text, secret.slice(0, -4), secret.replace(':', ' ')]) {
      const message = messageOf(() => SigningKey.parse(bad))
      expect(message).not.toContain(secret.slice(15, 40))
    }
  })
})

const P = 2n ** 255n - 19n
const L = 2n ** 252n + 27742317777372353535851937790883648493n

describe('strict Ed25519', () => {
  const encode = (value: bigint, sign = 0n): Uint8Array =>
    new Uint8Array(Buffer.from((value | (sign << 255n)).toString(16).padStart(64, '0'), 'hex').reverse())
  const decode = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
  // RFC 8032 §5.1: d, and the y of the points that vanish when doubled three times.
  const d = decode(Buffer.from('a3785913ca4deb75abd841414d0a700098e879777940c78c73fe6f2bee6c0352', 'hex'))
  const ORDER_8 = [
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
  ].map((text) => decode(Buffer.from(text, 'hex')))

  test('the y of the points of order 8 solve their equation', () => {
    for (const y of ORDER_8) expect((d * y ** 4n + 2n * y * y - 1n) % P).toBe(0n)
  })

  test('points of small order are refused, in every encoding', () => {
    for (const y of [0n, 1n, P - 1n, P, P + 1n, ...ORDER_8])
      for (const sign of [0n, 1n]) {
        expect(isStrictEncoding(encode(y, sign))).toBe(false)
        const text = `a:${Buffer.from(encode(y, sign)).toString('base64')}`
        expect(() => VerifyingKey.parse(text)).toThrow(
          expect.objectContaining({ variant: 'InvalidVerifyingKey' }),
        )
      }
  })

  test('y of p and more is refused, though it is a point modulo p', () => {
    for (let y = 2n; y < 19n; y++) expect(isStrictPoint(encode(P + y))).toBe(false)
    expect(Array.from({ length: 17 }, (_, i) => isStrictPoint(encode(BigInt(i + 2))))).toContain(true)
  })

  test('half of all y are on the curve, and every public key is', () => {
    const hits = Array.from({ length: 200 }, (_, i) => isStrictPoint(encode(BigInt(i + 2)))).filter(Boolean)
    expect(hits.length).toBeGreaterThan(70)
    expect(hits.length).toBeLessThan(130)
    for (let i = 0; i < 20; i++) {
      const { x } = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
      expect(isStrictPoint(Buffer.from(x!, 'base64url'))).toBe(true)
    }
  })

  test('S + L is refused', () => {
    const s = decode(SIGNATURE.bytes.subarray(32))
    const forged = Buffer.concat([SIGNATURE.bytes.subarray(0, 32), encode(s + L)])
    expect(KEY.verify(FINGERPRINT, { ...SIGNATURE, bytes: forged })).toBe(false)
  })

  test('a signature whose R is the neutral element is refused, although its equation holds', () => {
    const [a, b] = signatures.keypairs.map(({ secret }: { secret: string }) =>
      Buffer.from(secret.split(':')[1]!, 'base64'),
    )
    const key = SigningKey.parse(signatures.keypairs[0].secret)
    const forge = (r: bigint, point: Uint8Array): Signature => {
      const hash = createHash('sha512').update(point).update(a.subarray(32)).update(FINGERPRINT)
      const s = (r + decode(hash.digest()) * scalarOf(a)) % L
      return { keyName: key.name, bytes: Buffer.concat([point, encode(s)]) }
    }
    // Control: with the same arithmetic and another key's point for R, the equation holds and is accepted.
    expect(key.verifyingKey.verify(FINGERPRINT, forge(scalarOf(b), b.subarray(32)))).toBe(true)
    expect(key.verifyingKey.verify(FINGERPRINT, forge(0n, encode(1n)))).toBe(false)
  })

  /** The secret scalar behind a seed (RFC 8032 §5.1.5). */
  function scalarOf(seed: Uint8Array): bigint {
    const scalar = createHash('sha512').update(seed.subarray(0, 32)).digest().subarray(0, 32)
    scalar[0]! &= 248
    scalar[31] = (scalar[31]! & 127) | 64
    return decode(scalar)
  }
})

function messageOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return String(error)
  }
  return ''
}

test('a generated key signs, can be read again, and is another one each time', () => {
  const { secret, key } = SigningKey.generate('new-1')
  expect(
    VerifyingKey.parse(key.verifyingKey.toString()).verify(
      FINGERPRINT,
      SigningKey.parse(secret).sign(FINGERPRINT),
    ),
  ).toBe(true)
  expect(SigningKey.generate('new-1').secret).not.toBe(secret)
  expect(() => SigningKey.generate('no name')).toThrow(/name of a key/)
})
