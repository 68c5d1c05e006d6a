import { fileURLToPath } from 'node:url'
import { StoreError } from '../../support/errors.ts'
import type { NarIndex } from './interface.ts'
import { openLmdbNarIndex } from './lmdb.ts'
import { memoryNarIndex } from './memory.ts'

/** Opens `memory:` or `lmdb:///path`, also in the form `lmdb:/path`. Throws `invalid-argument` for anything else. */
export async function openNarIndex(address: string): Promise<NarIndex> {
  if (/^memory:(\/\/)?$/.test(address)) return memoryNarIndex()
  const path = /^lmdb:(?:\/\/)?(\/[^?#]*[^/?#])$/.exec(address)?.[1]
  if (path === undefined)
    throw new StoreError(
      'invalid-argument',
      `${address} is no address for an index of NARs; expected lmdb:///path or memory:`,
    )
  return openLmdbNarIndex(fileURLToPath(`file://${path}`))
}
