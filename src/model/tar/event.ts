import type { PathComponent } from '../castore/path-component.ts'
import type { SymlinkTarget } from '../castore/symlink-target.ts'

/** Where an entry goes, from the top of the archive; the top itself has no components. */
export type TarPath = readonly PathComponent[]

/** What a tar archive says, in the order of its bytes. */
export type TarEvent =
  | { readonly type: 'directory'; readonly path: TarPath }
  /** As many bytes as `size` follow, as contents and holes, and then its end. */
  | { readonly type: 'file'; readonly path: TarPath; readonly size: number; readonly executable: boolean }
  | { readonly type: 'contents'; readonly bytes: Uint8Array }
  /** So many zeros, which are not in the archive. */
  | { readonly type: 'hole'; readonly size: number }
  | { readonly type: 'end-file' }
  | { readonly type: 'symlink'; readonly path: TarPath; readonly target: SymlinkTarget }
  /** The same as what came before at `target`. */
  | { readonly type: 'hard-link'; readonly path: TarPath; readonly target: TarPath }
