import type { Command } from 'commander'
import { StoreError } from '../support/errors.ts'

export interface SignatureOptions {
  readonly requireSignatures: boolean
  readonly trustedPublicKeys?: readonly string[]
}

export function addSignatureOptions(command: Command): void {
  command
    .option(
      '--require-signatures',
      'show only paths that one of the keys below signed, or whose contents prove them',
      false,
    )
    .option('--trusted-public-keys <key...>', 'as in nix.conf: name:base64')
}

/** The keys that must have signed; `undefined` when nobody must. */
export function requiredSignatures(options: SignatureOptions): readonly string[] | undefined {
  const { requireSignatures, trustedPublicKeys } = options
  const keys = trustedPublicKeys?.flatMap((words) => words.split(/\s+/)).filter((word) => word !== '')
  if (requireSignatures && !keys?.length)
    throw new StoreError(
      'invalid-argument',
      '--require-signatures needs --trusted-public-keys, such as cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=',
    )
  // Left out silently, the keys would look as if they were heeded.
  if (!requireSignatures && keys)
    throw new StoreError('invalid-argument', '--trusted-public-keys goes with --require-signatures')
  return requireSignatures ? keys : undefined
}
