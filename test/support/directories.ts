import { Digest } from '../../src/model/castore/digest.ts'
import { Directory, type SizeFormula } from '../../src/model/castore/directory.ts'
import type { Entry, Node } from '../../src/model/castore/node.ts'
import { pathComponent } from '../../src/model/castore/path-component.ts'
import { symlinkTarget } from '../../src/model/castore/symlink-target.ts'
import { utf8 } from '../../src/support/bytes.ts'
import { vectors } from './vectors.ts'

/** A directory of the vectors, with or without the `DIRECTORY_` of its name. */
export function vectorDirectory(name: string, formula: SizeFormula = 'rust'): Directory {
  const fixture = vectors.directories.fixtures.find(
    (item: { name: string }) => item.name === name || item.name === `DIRECTORY_${name}`,
  )
  if (!fixture) throw new Error(`no directory ${name} among the vectors`)
  return Directory.decode(Buffer.from(fixture[formula].proto_hex, 'hex'))
}

export function makeDirectory(nodes: Readonly<Record<string, Node>>): Directory {
  return Directory.from(Object.entries(nodes).map(([name, node]) => entry(utf8(name), node)))
}

export function entry(name: Uint8Array, node: Node): Entry {
  return { name: pathComponent(name), node }
}

export function directoryNode(directory: Directory, formula: SizeFormula = 'rust'): Node {
  return { kind: 'directory', digest: directory.digest, size: directory.size(formula) }
}

export function fileNode(contents: string, executable = false): Node {
  return {
    kind: 'file',
    digest: Digest.of(utf8(contents)),
    size: BigInt(utf8(contents).length),
    executable,
  }
}

export function symlinkNode(target: string | Uint8Array): Node {
  return { kind: 'symlink', target: symlinkTarget(typeof target === 'string' ? utf8(target) : target) }
}

/** A leaf like no other with another label. */
export function leaf(label: string): Directory {
  return makeDirectory({ [label]: fileNode(label) })
}

/** Directories inside each other, the innermost first; `depth` counts them all. */
export function chain(depth: number, label = 'leaf'): Directory[] {
  const directories = [leaf(label)]
  while (directories.length < depth)
    directories.push(makeDirectory({ d: directoryNode(directories.at(-1)!) }))
  return directories
}
