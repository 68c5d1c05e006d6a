import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Digest } from '../../src/model/castore/digest.ts'
import { openLmdbTable } from '../../src/services/lmdb-table.ts'

/** Removes a small blob from a store of files (spec §3.3), as a broken disk might. */
export async function loseBlob(store: string, contents: string): Promise<void> {
  const { hex } = Digest.of(Buffer.from(contents))
  for (const kind of await readdir(store))
    await rm(join(store, kind, 'b3', hex.slice(0, 4), hex), { force: true })
}

/** Removes the directories that have an entry of this name from an LMDB file. */
export async function loseDirectory(path: string, name: string): Promise<void> {
  await using table = await openLmdbTable(path, 'directory')
  const lost = table.page(undefined, 1_000).filter(({ value }) => Buffer.from(value).includes(name))
  if (lost.length === 0) throw new Error(`no directory of ${path} has the entry ${name}`)
  await table.remove(lost.map(({ key }) => key))
}
