import type { StorePath } from '../model/nix/store-path.ts'
import { StoreError } from '../support/errors.ts'

export interface Referring {
  readonly storePath: StorePath
  readonly references: readonly StorePath[]
}

/**
 * The same paths, each after all of them that it refers to; references to itself and to paths that are not among
 * them do not count. A path that is named twice comes once. Throws `invalid-argument` for a circle, which no Nix
 * store has.
 */
export function referencesFirst<T extends Referring>(paths: readonly T[]): T[] {
  const byName = new Map(paths.map((path) => [path.storePath.toString(), path]))
  const state = new Map<T, 'open' | 'done'>()
  const ordered: T[] = []
  for (const start of byName.values()) {
    if (state.has(start)) continue
    const open = [visit(start)]
    state.set(start, 'open')
    for (let top = open.at(-1); top; top = open.at(-1)) {
      const next = top.references.next()
      if (next.done) {
        open.pop()
        state.set(top.path, 'done')
        ordered.push(top.path)
        continue
      }
      const path = byName.get(next.value.toString())
      if (!path || path === top.path || state.get(path) === 'done') continue
      if (state.get(path) === 'open')
        throw circle(
          open.map((each) => each.path),
          path,
        )
      state.set(path, 'open')
      open.push(visit(path))
    }
  }
  return ordered
}

function visit<T extends Referring>(path: T): { readonly path: T; readonly references: Iterator<StorePath> } {
  return { path, references: path.references.values() }
}

function circle(open: readonly Referring[], again: Referring): StoreError {
  const names = [...open.slice(open.indexOf(again)), again].map(({ storePath }) => storePath.toString())
  return new StoreError(
    'invalid-argument',
    `store paths refer to each other in a circle: ${names.join(' → ')}`,
  )
}
