import { readFileSync } from 'node:fs'

/** A file of an initial RAM filesystem. `link`: what a symlink leads to. */
export interface ArchiveEntry {
  readonly path: string
  readonly mode: number
  readonly contents?: Uint8Array
}

const DIRECTORY = 0o040755
const FILE = 0o100644
const PROGRAM = 0o100755
const LINK = 0o120777

export const archiveDirectory = (path: string): ArchiveEntry => ({ path, mode: DIRECTORY })
export const archiveLink = (path: string, target: string): ArchiveEntry => ({
  path,
  mode: LINK,
  contents: Buffer.from(target),
})

export function archiveFile(path: string, contents: Uint8Array | string, program = false): ArchiveEntry {
  return { path, mode: program ? PROGRAM : FILE, contents: Buffer.from(contents) }
}

/** An archive in the format that the kernel unpacks as its first root ("newc", cpio(5)). */
export function packArchive(entries: readonly ArchiveEntry[]): Buffer {
  const pieces: Uint8Array[] = []
  const add = (inode: number, { path, mode, contents = new Uint8Array(0) }: ArchiveEntry) => {
    const name = Buffer.from(`${path}\0`)
    const fields = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, name.length, 0]
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`)
    pieces.push(header, name, padding(header.length + name.length), contents, padding(contents.length))
  }
  entries.forEach((entry, i) => {
    add(i + 1, entry)
  })
  add(0, { path: 'TRAILER!!!', mode: 0 })
  return Buffer.concat(pieces)
}

function padding(length: number): Uint8Array {
  return new Uint8Array(-length & 3)
}

/** What a kernel module needs before it is loaded: the `depends` of its .modinfo section. */
export function moduleDependencies(path: string): string[] {
  const found = /\0depends=([^\0]*)\0/.exec(readFileSync(path).toString('latin1'))
  return (found?.[1] ?? '').split(',').filter((name) => name !== '')
}
