import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { equalBytes, view } from '../../support/bytes.ts'
import { ValidationError } from '../castore/validation-error.ts'
import { isStrictEncoding, isStrictPoint } from './ed25519-point.ts'
import { parseNamed, printNamed } from './named-key.ts'
import { SIGNATURE_BYTES, type Signature } from './signature.ts'

const PUBLIC_KEY_BYTES = 32
const SECRET_KEY_BYTES = 64
/** The first half of a signature is the point R. */
const POINT_BYTES = 32
/** An Ed25519 seed follows this in PKCS #8 (RFC 8410 §7). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')

/** The public half of a binary cache's key. */
export class VerifyingKey {
  readonly name: string
  /** 32 bytes. */
  readonly bytes: Uint8Array
  readonly #key: KeyObject

  private constructor(name: string, bytes: Uint8Array) {
    this.name = name
    this.bytes = bytes
    const x = view(bytes).toString('base64url')
    this.#key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  }

  /**
   * From `name:base64`. Throws ValidationError `MissingSeparator`, `InvalidName`, `InvalidVerifyingKeyLen`,
   * `DecodeError`, or `InvalidVerifyingKey` for bytes that are not a point, or one that strict Ed25519 rejects.
   */
  static parse(text: string): VerifyingKey {
    const { name, bytes } = parseNamed(text, 'public key', PUBLIC_KEY_BYTES, 'InvalidVerifyingKeyLen')
    return VerifyingKey.fromParts(name, bytes)
  }

  static fromParts(name: string, bytes: Uint8Array): VerifyingKey {
    if (!isStrictPoint(bytes))
      throw new ValidationError('InvalidVerifyingKey', `public key of "${name}": not an Ed25519 public key`)
    return new VerifyingKey(name, bytes)
  }

  /** Whether this key, by name and by strict Ed25519, made the signature over the fingerprint. */
  verify(fingerprint: string, signature: Signature): boolean {
    if (signature.keyName !== this.name || signature.bytes.length !== SIGNATURE_BYTES) return false
    if (!isStrictEncoding(signature.bytes.subarray(0, POINT_BYTES))) return false
    return verify(null, Buffer.from(fingerprint, 'utf8'), this.#key, signature.bytes)
  }

  toString(): string {
    return printNamed(this.name, this.bytes)
  }
}

/** The secret half. It cannot be printed, on purpose. */
export class SigningKey {
  readonly name: string
  readonly verifyingKey: VerifyingKey
  readonly #key: KeyObject

  private constructor(verifyingKey: VerifyingKey, key: KeyObject) {
    this.name = verifyingKey.name
    this.verifyingKey = verifyingKey
    this.#key = key
  }

  /**
   * From `name:base64` of the seed and the public key. Throws ValidationError `MissingSeparator`,
   * `InvalidName`, `InvalidSigningKeyLen`, `DecodeError`, or `MismatchedKeys` when the halves do not match.
   */
  static parse(text: string): SigningKey {
    const { name, bytes } = parseNamed(text, 'secret key', SECRET_KEY_BYTES, 'InvalidSigningKeyLen')
    const seed = bytes.subarray(0, SECRET_KEY_BYTES - PUBLIC_KEY_BYTES)
    const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' })
    const publicBytes = Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x!, 'base64url')
    if (!equalBytes(publicBytes, bytes.subarray(seed.length)))
      throw new ValidationError(
        'MismatchedKeys',
        `secret key of "${name}": its public half is of another key`,
      )
    return new SigningKey(VerifyingKey.fromParts(name, publicBytes), key)
  }

  /**
   * A new key, and its secret text, which nothing else gives away (spec §6.6). Throws ValidationError `InvalidName`.
   */
  static generate(name: string): { readonly secret: string; readonly key: SigningKey } {
    const { privateKey } = generateKeyPairSync('ed25519')
    const { d, x } = privateKey.export({ format: 'jwk' })
    const halves = Buffer.concat([Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')])
    const secret = printNamed(name, halves)
    return { secret, key: SigningKey.parse(secret) }
  }

  sign(fingerprint: string): Signature {
    return { keyName: this.name, bytes: sign(null, Buffer.from(fingerprint, 'utf8'), this.#key) }
  }
}
