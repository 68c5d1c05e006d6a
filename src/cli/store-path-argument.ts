import { STORE_DIR, StorePath } from '../model/nix/store-path.ts'

/** A store path as people write it: `/nix/store/<hash>-<name>`, or without the folder. A slash at the end is fine. */
export function parseStorePath(argument: string): StorePath {
  const trimmed = argument.replace(/\/+$/, '')
  return trimmed.startsWith(`${STORE_DIR}/`) ? StorePath.fromAbsolutePath(trimmed) : StorePath.parse(trimmed)
}
