import type { Digest } from './digest.ts'
import type { PathComponent } from './path-component.ts'
import type { SymlinkTarget } from './symlink-target.ts'

/** What a name in a directory, or a store path, stands for. Nodes are nameless; their holder knows the name. */
export type Node = DirectoryNode | FileNode | SymlinkNode

export interface DirectoryNode {
  readonly kind: 'directory'
  readonly digest: Digest
  /** As the parent records it, by either formula (see `Directory.size`); u64. */
  readonly size: bigint
}

export interface FileNode {
  readonly kind: 'file'
  readonly digest: Digest
  /** Bytes of the blob, as the parent records it; u64. */
  readonly size: bigint
  readonly executable: boolean
}

export interface SymlinkNode {
  readonly kind: 'symlink'
  readonly target: SymlinkTarget
}

/** A node under its name in a directory. */
export interface Entry {
  readonly name: PathComponent
  readonly node: Node
}
