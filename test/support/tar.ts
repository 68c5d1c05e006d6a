/** Tar archives for tests, made without any of the code that is tested. */
import { utf8 } from '../../src/support/bytes.ts'
import type { RandomTree } from './random-trees.ts'

export interface TarEntry {
  readonly path: string | Uint8Array
  readonly type?: string
  readonly contents?: Uint8Array
  readonly link?: string | Uint8Array
  readonly mode?: number
  /** Another size than that of the contents. */
  readonly size?: number | Uint8Array
  /** Records of an extended header in front of it. */
  readonly pax?: readonly (readonly [string, string | Uint8Array])[]
}

const BLOCK = 512
export const TAR_END = Buffer.alloc(2 * BLOCK)

/** Long names go into GNU's entries for them. */
export function tarEntry(entry: TarEntry): Buffer {
  const {
    type = '0',
    contents = Buffer.alloc(0),
    link = '',
    mode = 0o644,
    size = contents.length,
    pax,
  } = entry
  const [path, target] = [bytesOf(entry.path), bytesOf(link)]
  const parts: Buffer[] = []
  if (pax) parts.push(tarEntry({ path: 'pax', type: 'x', contents: paxRecords(pax) }))
  for (const [kind, long] of [
    ['L', path],
    ['K', target],
  ] as const)
    if (long.length > 100)
      parts.push(
        tarEntry({ path: '././@LongLink', type: kind, contents: Buffer.concat([long, Buffer.alloc(1)]) }),
      )
  const header = Buffer.alloc(BLOCK)
  path.copy(header, 0, 0, 100)
  header.write(mode.toString(8).padStart(7, '0'), 100)
  if (typeof size === 'number') header.write(size.toString(8).padStart(11, '0'), 124)
  else header.set(size, 124)
  header.write(type, 156, 'latin1')
  target.copy(header, 157, 0, 100)
  header.write('ustar  \0', 257, 'latin1')
  return Buffer.concat([...parts, withChecksum(header), padded(contents)])
}

export function tarOf(...entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), TAR_END])
}

export function withChecksum(header: Buffer): Buffer {
  header.fill(' ', 148, 156)
  const sum = header.reduce((all, byte) => all + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

function paxRecords(records: NonNullable<TarEntry['pax']>): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = Buffer.concat([utf8(` ${key}=`), bytesOf(value), utf8('\n')])
      let length = rest.length + 1
      while (`${length}`.length + rest.length !== length) length++
      return Buffer.concat([utf8(`${length}`), rest])
    }),
  )
}

function padded(contents: Uint8Array): Buffer {
  return Buffer.concat([contents, Buffer.alloc((BLOCK - (contents.length % BLOCK)) % BLOCK)])
}

function bytesOf(text: string | Uint8Array): Buffer {
  return Buffer.from(text as Uint8Array)
}

/** The entries of a tree at `path`. */
export function tarEntriesOf(tree: RandomTree, path: Uint8Array): TarEntry[] {
  if (tree.kind === 'symlink') return [{ path, type: '2', link: tree.target }]
  if (tree.kind === 'file') return [{ path, contents: tree.contents, mode: tree.executable ? 0o755 : 0o644 }]
  const below = tree.entries.flatMap(([name, child]) =>
    tarEntriesOf(child, Buffer.concat([path, utf8('/'), name])),
  )
  return [{ path: Buffer.concat([path, utf8('/')]), type: '5' }, ...below]
}
