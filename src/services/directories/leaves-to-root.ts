import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'

/** A complete closure in the order of uploads: each directory after all that it refers to. */
export function leavesToRoot(root: Digest, closure: readonly Directory[]): Directory[] {
  const byKey = new Map(closure.map((directory) => [directory.digest.key, directory]))
  const ordered: Directory[] = []
  const entered = new Set<string>()
  // Twice on the stack: first its children are put above it, then, when they are done, it is its turn.
  const stack: { readonly directory: Directory; readonly isDone: boolean }[] = []
  const push = (digest: Digest) => {
    const directory = byKey.get(digest.key)
    if (directory && !entered.has(digest.key)) stack.push({ directory, isDone: false })
  }
  push(root)
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { directory, isDone } = top
    if (isDone) ordered.push(directory)
    else if (!entered.has(directory.digest.key)) {
      entered.add(directory.digest.key)
      stack.push({ directory, isDone: true })
      for (const child of directory.children()) push(child.digest)
    }
  }
  return ordered
}
