import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { SigningKey } from '../../src/model/nix/signing-key.ts'

/** A key of this name, the same every time; another `variant` gives another key of the same name. */
export function makeSigningKey(name: string, variant = ''): SigningKey {
  return SigningKey.parse(secretKeyText(name, variant))
}

/** As `nix` and keyfiles have it. */
export function secretKeyText(name: string, variant = ''): string {
  const seed = createHash('sha256').update(`${name}${variant}`).digest()
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
  const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
  const publicBytes = Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x!, 'base64url')
  return `${name}:${Buffer.concat([seed, publicBytes]).toString('base64')}`
}
