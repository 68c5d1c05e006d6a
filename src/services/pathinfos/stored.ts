import type { PathInfo } from '../../model/nix/path-info.ts'
import { decodePathInfo } from '../../model/wire/path-info.ts'
import { hex } from '../../support/bytes.ts'
import { StoreError, withContext } from '../../support/errors.ts'

/** What a listing hears that left out `count` path infos, `first` telling why of one of them. */
export type LeftOut = (count: number, first: StoreError) => void

/**
 * The path infos of a listing. One that does not decode must not take the others with it, whoever wrote it: it is left
 * out, and `leftOut` is told how many there were when the listing ends, also before its time.
 */
export async function* listStored(
  entries: AsyncIterable<{ readonly key: Uint8Array; readonly value: Uint8Array }>,
  source: string,
  leftOut: LeftOut,
): AsyncGenerator<PathInfo> {
  let count = 0
  let first: StoreError | undefined
  try {
    for await (const { key, value } of entries) {
      let decoded: PathInfo
      try {
        decoded = decodeStoredPathInfo(value, key, source)
      } catch (error) {
        count++
        first ??= StoreError.from(error)
        continue
      }
      yield decoded
    }
  } finally {
    if (first) leftOut(count, first)
  }
}

/** A path info out of storage. What does not decode there is the storage's fault: `corrupt`. */
export function decodeStoredPathInfo(bytes: Uint8Array, key: Uint8Array, source: string): PathInfo {
  try {
    return decodePathInfo(bytes)
  } catch (error) {
    const { message } = withContext(`${source}: path info ${hex(key)} does not decode`, error)
    throw new StoreError('corrupt', message, { cause: error })
  }
}
