import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { RootToLeavesValidator } from '../../model/castore/directory-order.ts'
import { ValidationError } from '../../model/castore/validation-error.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import { CLOSURE_DIRECTORIES_MAX } from '../../support/limits.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'

/**
 * Trusts nothing that `base` says: a directory is released only when its digest is the one asked for, a closure
 * only in order and with sizes that fit, and it ends well only when it is complete. Anything else is `corrupt`.
 * This is the one place where digests of directories are compared. `source` names the base in messages.
 */
export function verifyingDirectoryService(base: DirectoryService, source: string): DirectoryService {
  return new VerifyingDirectoryService(base, source)
}

class VerifyingDirectoryService implements DirectoryService {
  readonly #base: DirectoryService
  readonly #source: string

  constructor(base: DirectoryService, source: string) {
    this.#base = base
    this.#source = source
  }

  async get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    const directory = await this.#base.get(digest, call)
    if (directory && !directory.digest.equals(digest))
      throw new StoreError(
        'corrupt',
        `${this.#source}: asked for directory ${digest}, but got ${directory.digest}`,
      )
    return directory
  }

  async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    const validator = new RootToLeavesValidator(digest)
    let any = false
    let duplicates = 0
    for await (const directory of this.#base.getRecursive(digest, call)) {
      any = true
      // Peers need not remove duplicates (spec §1.4); our callers get each directory once.
      const isNew = this.#blame(digest, () => validator.accept(directory))
      if (isNew) yield directory
      else if (++duplicates > CLOSURE_DIRECTORIES_MAX)
        throw new StoreError('exhausted', `${this.#source}: closure of ${digest}: duplicates without end`)
    }
    if (any) this.#blame(digest, () => validator.finish())
  }

  async put(directory: Directory, call?: Call): Promise<Digest> {
    const stored = await this.#base.put(directory, call)
    return this.#sameDigest(stored, directory.digest)
  }

  startPutter(call?: Call): DirectoryPutter {
    return new VerifyingPutter(this.#base.startPutter(call), (stored, root) => this.#sameDigest(stored, root))
  }

  /** The rules are those for uploads too, but here it is the source that broke them, not our caller. */
  #blame<T>(root: Digest, check: () => T): T {
    try {
      return check()
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error
      throw new StoreError('corrupt', `${this.#source}: closure of ${root}: ${error.message}`, {
        cause: error,
      })
    }
  }

  #sameDigest(stored: Digest, own: Digest): Digest {
    if (!stored.equals(own))
      throw new StoreError('corrupt', `${this.#source}: stored directory ${own}, but answered ${stored}`)
    return own
  }
}

/** Callers build path infos on the root that `close` gives; it must be the one that they uploaded. */
class VerifyingPutter implements DirectoryPutter {
  readonly #base: DirectoryPutter
  readonly #sameDigest: (stored: Digest, own: Digest) => Digest
  readonly #sent = new Set<string>()
  /** A right upload has its root last, but for duplicates. */
  #root: Digest | undefined

  constructor(base: DirectoryPutter, sameDigest: (stored: Digest, own: Digest) => Digest) {
    this.#base = base
    this.#sameDigest = sameDigest
  }

  async put(directory: Directory): Promise<void> {
    await this.#base.put(directory)
    if (this.#sent.has(directory.digest.key)) return
    this.#sent.add(directory.digest.key)
    this.#root = directory.digest
  }

  async close(): Promise<Digest> {
    const stored = await this.#base.close()
    // Nothing was sent, yet it succeeded: the digest that came back stands for nothing of ours.
    if (!this.#root) throw new StoreError('corrupt', `an empty upload of directories was answered ${stored}`)
    return this.#sameDigest(stored, this.#root)
  }
}
