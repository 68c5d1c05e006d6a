import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Digest } from '../../src/model/castore/digest.ts'

/** Removes a small blob from a store of files (spec §3.3), as a broken disk might. */
export async function loseBlob(store: string, contents: string): Promise<void> {
  const { hex } = Digest.of(Buffer.from(contents))
  for (const kind of await readdir(store))
    await rm(join(store, kind, 'b3', hex.slice(0, 4), hex), { force: true })
}
