import { STORE_DIR, StorePath } from '../model/nix/store-path.ts'
import { printable, utf8 } from '../support/bytes.ts'
import { StoreError } from '../support/errors.ts'

/** A store path as people write it: `/nix/store/<hash>-<name>`, or without the folder. A slash at the end is fine. */
export function parseStorePath(argument: string): StorePath {
  const trimmed = argument.replace(/\/+$/, '')
  return explained(argument, () =>
    trimmed.startsWith('/') ? StorePath.fromAbsolutePath(trimmed) : StorePath.parse(trimmed),
  )
}

/** A path into a store path: `/nix/store/<hash>-<name>/bin/sh`, or without the folder. */
export function parseInnerPath(argument: string): { storePath: StorePath; inner: Uint8Array } {
  const absolute = argument.startsWith('/') ? argument : `${STORE_DIR}/${argument}`
  const { storePath, rest } = explained(argument, () => StorePath.fromAbsolutePathFull(absolute))
  return { storePath, inner: utf8(rest) }
}

/** The rule that was broken says little to somebody who gave another kind of path. */
function explained<T>(argument: string, parse: () => T): T {
  try {
    return parse()
  } catch (cause) {
    throw new StoreError(
      'invalid-argument',
      `"${printable(utf8(argument.slice(0, 300)))}" is not a store path, such as ${STORE_DIR}/<hash>-<name> (${reason(cause)})`,
      { cause },
    )
  }
}

function reason(cause: unknown): string {
  const { message } = StoreError.from(cause)
  return message.slice(message.indexOf('": ') + 3)
}
