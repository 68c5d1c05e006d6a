import type { PathComponent } from '../castore/path-component.ts'
import type { SymlinkTarget } from '../castore/symlink-target.ts'

/**
 * What a NAR consists of, in its order. A node is `directory` … `end-directory`, or `symlink`, or `file`, any
 * number of `contents`, `end-file`; each `entry` is followed by its node. The archive is one node.
 */
export type NarEvent =
  | { readonly type: 'directory' }
  | { readonly type: 'entry'; readonly name: PathComponent }
  | { readonly type: 'end-directory' }
  | { readonly type: 'symlink'; readonly target: SymlinkTarget }
  | {
      readonly type: 'file'
      readonly executable: boolean
      /** Bytes of all contents together. */
      readonly size: number
    }
  | { readonly type: 'contents'; readonly bytes: Uint8Array }
  | { readonly type: 'end-file' }
