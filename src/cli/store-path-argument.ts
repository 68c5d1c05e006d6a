import { STORE_DIR, StorePath } from '../model/nix/store-path.ts'
import { utf8 } from '../support/bytes.ts'

/** A store path as people write it: `/nix/store/<hash>-<name>`, or without the folder. A slash at the end is fine. */
export function parseStorePath(argument: string): StorePath {
  const trimmed = argument.replace(/\/+$/, '')
  return trimmed.startsWith(`${STORE_DIR}/`) ? StorePath.fromAbsolutePath(trimmed) : StorePath.parse(trimmed)
}

/** A path into a store path: `/nix/store/<hash>-<name>/bin/sh`, or without the folder. */
export function parseInnerPath(argument: string): { storePath: StorePath; inner: Uint8Array } {
  const absolute = argument.startsWith(`${STORE_DIR}/`) ? argument : `${STORE_DIR}/${argument}`
  const { storePath, rest } = StorePath.fromAbsolutePathFull(absolute)
  return { storePath, inner: utf8(rest) }
}
