import { fingerprint } from '../../model/nix/fingerprint.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { Signature } from '../../model/nix/signature.ts'
import type { SigningKey } from '../../model/nix/signing-key.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { PathInfoService } from './interface.ts'

/**
 * Signs what is stored through it with every one of `keys` (spec §3.7, "keyfile-signing"). There is one signature of
 * a key name afterwards: an outdated one is replaced where it stands, others stay as they are.
 *
 * A signature says that the NAR has this hash, so this layer may only stand where the hash was computed by us.
 * Throws `invalid-argument` for two keys of one name, of which nobody could tell which to verify with.
 */
export function signingPathInfoService(base: PathInfoService, keys: readonly SigningKey[]): PathInfoService {
  if (new Set(keys.map(({ name }) => name)).size < keys.length)
    throw new StoreError('invalid-argument', 'two signing keys have the same name: give one of them another')
  return {
    get: (outputHash: Uint8Array, call?: Call) => base.get(outputHash, call),
    put: (pathInfo: PathInfo, call?: Call) => base.put(signed(pathInfo, keys), call),
    list: (call?: Call) => base.list(call),
  }
}

/** The same path info with one signature of each key. */
export function signed(pathInfo: PathInfo, keys: readonly SigningKey[]): PathInfo {
  const text = fingerprint(pathInfo)
  const missing = new Map(keys.map((key) => [key.name, key.sign(text)]))
  const ours = new Set(missing.keys())
  const signatures: Signature[] = []
  for (const signature of pathInfo.signatures) {
    const own = missing.get(signature.keyName)
    if (own) signatures.push(own)
    else if (!ours.has(signature.keyName)) signatures.push(signature)
    missing.delete(signature.keyName)
  }
  return { ...pathInfo, signatures: [...signatures, ...missing.values()] }
}
