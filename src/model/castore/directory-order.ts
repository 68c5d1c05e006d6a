import { printable } from '../../support/bytes.ts'
import { StoreError } from '../../support/errors.ts'
import { CLOSURE_DIRECTORIES_MAX } from '../../support/limits.ts'
import type { Digest } from './digest.ts'
import type { Directory } from './directory.ts'
import type { PathComponent } from './path-component.ts'
import { ValidationError } from './validation-error.ts'

/**
 * The order in which a closure travels (spec §1.4, §2.3), checked one directory at a time. Only digests and sizes
 * are kept. The two orders share their rules: every reference is met, sizes recorded in parents fit their
 * children by either formula (spec §1.9), nothing stands outside the closure, duplicates are harmless.
 */

/** What a later parent needs to know of a directory that went by. */
interface SeenSizes {
  readonly rust: bigint
  readonly documented: bigint
}

interface Reference {
  readonly name: PathComponent
  readonly digest: Digest
  readonly size: bigint
}

/** Uploads: every directory after all that it refers to, so the root comes last. */
export class LeavesToRootValidator {
  readonly #seen = new Map<string, SeenSizes>()
  readonly #unreferenced = new Map<string, Digest>()

  /**
   * Takes the next directory; false when it was accepted before. Throws ValidationError `UnknownLTR` or
   * `WrongSize`, and is then as if it had not been called.
   */
  accept(directory: Directory): boolean {
    const { digest } = directory
    if (this.#seen.has(digest.key)) return false
    const children = [...directory.children()]
    for (const child of children) {
      const seen = this.#seen.get(child.digest.key)
      if (!seen) throw unknownReference(child, digest)
      checkSize(child, seen)
    }
    remember(this.#seen, directory)
    for (const child of children) this.#unreferenced.delete(child.digest.key)
    this.#unreferenced.set(digest.key, digest)
    return true
  }

  /** The root: the one directory that no other refers to. Throws ValidationError `EmptySet` or `Disconnected`. */
  finish(): Digest {
    const [root, stranger] = this.#unreferenced.values()
    if (!root) throw new ValidationError('EmptySet', 'no directories received')
    if (stranger)
      throw new ValidationError(
        'Disconnected',
        `graph has disconnected roots: nothing refers to ${root}, nor to ${stranger}`,
      )
    return root
  }
}

/** Downloads: the root first, then only what a directory before it refers to. */
export class RootToLeavesValidator {
  readonly #root: Digest
  readonly #seen = new Map<string, SeenSizes>()
  /** By digest; one reference for each size recorded, as two parents may use one formula each. */
  readonly #expected = new Map<string, Reference[]>()

  constructor(root: Digest) {
    this.#root = root
  }

  /** Takes the next directory; false when it was accepted before. Throws ValidationError `Unexpected` or `WrongSize`. */
  accept(directory: Directory): boolean {
    const { digest } = directory
    if (this.#seen.has(digest.key)) return false
    const references = this.#expected.get(digest.key)
    const isRoot = this.#seen.size === 0 && digest.equals(this.#root)
    if (!references && !isRoot)
      throw new ValidationError('Unexpected', `unexpected Directory with digest ${digest} encountered`)
    const sizes = remember(this.#seen, directory)
    for (const reference of references ?? []) checkSize(reference, sizes)
    this.#expected.delete(digest.key)
    for (const child of directory.children()) this.#expect(child)
    return true
  }

  /** Throws ValidationError `DirectoriesMissing` unless the closure is complete. */
  finish(): void {
    if (this.#seen.size === 0)
      throw new ValidationError('DirectoriesMissing', `some directories missing: the root ${this.#root}`)
    const [missing] = this.#expected.values()
    if (missing)
      throw new ValidationError(
        'DirectoriesMissing',
        `some directories missing: ${this.#expected.size}, among them ${missing[0]!.digest}`,
      )
  }

  #expect(child: Reference): void {
    const seen = this.#seen.get(child.digest.key)
    if (seen) {
      checkSize(child, seen)
      return
    }
    const references = this.#expected.get(child.digest.key)
    if (!references) this.#expected.set(child.digest.key, [child])
    else if (!references.some((other) => other.size === child.size)) references.push(child)
  }
}

function remember(seen: Map<string, SeenSizes>, directory: Directory): SeenSizes {
  if (seen.size >= CLOSURE_DIRECTORIES_MAX)
    throw new StoreError('exhausted', `more than ${CLOSURE_DIRECTORIES_MAX} directories in one closure`)
  const sizes = { rust: directory.size('rust'), documented: directory.size('documented') }
  seen.set(directory.digest.key, sizes)
  return sizes
}

function checkSize(reference: Reference, recorded: SeenSizes): void {
  if (reference.size === recorded.rust || reference.size === recorded.documented) return
  throw new ValidationError(
    'WrongSize',
    `'${printable(reference.name)}' has wrong size, specified ${reference.size}, recorded ${recorded.rust}`,
  )
}

function unknownReference(child: Reference, parent: Digest): ValidationError {
  const what = `unknown digest ${child.digest} referenced for ${printable(child.name)} in parent ${parent}`
  return new ValidationError('UnknownLTR', `${what}: send it before its parent, in the same upload`)
}
