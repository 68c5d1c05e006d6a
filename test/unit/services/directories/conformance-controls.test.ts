import { describe, expect, it } from 'vitest'
import type { Digest } from '../../../../src/model/castore/digest.ts'
import { Directory } from '../../../../src/model/castore/directory.ts'
import type { DirectoryPutter, DirectoryService } from '../../../../src/services/directories/interface.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import type { Call } from '../../../../src/support/call.ts'
import { directoryServiceCases, singlePutCases } from '../../../conformance/directory-service.ts'
import { brokenCases, nothingToClean } from '../../../conformance/suite.ts'

const EMPTY = Directory.from([])

/** The suite must notice each of these; a suite that cannot fail proves nothing. */
const cases = [...directoryServiceCases, ...singlePutCases.any]

class Delegating implements DirectoryService {
  readonly base = memoryDirectoryService()
  get(digest: Digest, call?: Call): Promise<Directory | undefined> {
    return this.base.get(digest, call)
  }
  getRecursive(digest: Digest, call?: Call): AsyncIterable<Directory> {
    return this.base.getRecursive(digest, call)
  }
  put(directory: Directory, call?: Call): Promise<Digest> {
    return this.base.put(directory, call)
  }
  startPutter(call?: Call): DirectoryPutter {
    return this.base.startPutter(call)
  }
}

class WrongDirectory extends Delegating {
  override async get(digest: Digest, call?: Call) {
    return (await this.base.get(digest, call)) && EMPTY
  }
}

class AbsentOnError extends Delegating {
  override async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    try {
      yield* this.base.getRecursive(digest, call)
    } catch {}
  }
}

class RepeatsDirectories extends Delegating {
  override async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    const root = await this.get(digest, call)
    if (!root) return
    yield root
    for (const child of root.children()) yield* this.getRecursive(child.digest, call)
  }
}

class LosesTheLeaf extends Delegating {
  override startPutter(call?: Call): DirectoryPutter {
    const putter = this.base.startPutter(call)
    const forget = this
    return {
      put: (directory) => putter.put(directory),
      async close() {
        const root = await putter.close()
        forget.lost ??= root
        return root
      },
    }
  }
  lost: Digest | undefined
  override async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
    let held: Directory | undefined
    for await (const directory of this.base.getRecursive(digest, call)) {
      if (held) yield held
      held = directory
    }
    if (held && !this.lost) yield held
  }
}

class RootsOnly extends Delegating {
  readonly roots = new Set<string>()
  override async get(digest: Digest, call?: Call) {
    return this.roots.has(digest.key) ? this.base.get(digest, call) : undefined
  }
  override async put(directory: Directory, call?: Call) {
    this.roots.add(directory.digest.key)
    return this.base.put(directory, call)
  }
  override startPutter(call?: Call): DirectoryPutter {
    const putter = this.base.startPutter(call)
    return {
      put: (directory) => putter.put(directory),
      close: async () => {
        const root = await putter.close()
        this.roots.add(root.key)
        return root
      },
    }
  }
}

class ChecksNothing extends Delegating {
  override startPutter(call?: Call): DirectoryPutter {
    let last = EMPTY.digest
    return {
      put: async (directory) => {
        last = await this.base.put(directory, call)
      },
      close: async () => last,
    }
  }
}

class IgnoresSignals extends Delegating {
  override get = (digest: Digest) => this.base.get(digest)
  override getRecursive = (digest: Digest) => this.base.getRecursive(digest)
  override put = (directory: Directory) => this.base.put(directory)
  override startPutter = () => this.base.startPutter()
}

class DepthFirst extends Delegating {
  override async *getRecursive(
    digest: Digest,
    call?: Call,
    met = new Set<string>(),
  ): AsyncGenerator<Directory> {
    if (met.has(digest.key)) return
    met.add(digest.key)
    const root = await this.get(digest, call)
    if (!root) return
    yield root
    for (const child of [...root.children()].reverse()) yield* this.getRecursive(child.digest, call, met)
  }
}

describe('the conformance suite of directories fails', () => {
  const broken: Record<string, new () => DirectoryService> = {
    'one that returns a wrong directory': WrongDirectory,
    'one that says absent when it failed': AbsentOnError,
    'one that repeats directories in a walk': RepeatsDirectories,
    'one that walks depth first': DepthFirst,
    'one that loses the last leaf of a walk': LosesTheLeaf,
    'one that finds roots only': RootsOnly,
    'one that checks no upload': ChecksNothing,
    'one that ignores signals': IgnoresSignals,
  }
  for (const [name, make] of Object.entries(broken))
    it(name, async () => {
      const failures = await brokenCases(
        cases,
        nothingToClean(() => new make()),
      )
      expect(failures).not.toEqual([])
      expect(failures.length).toBeLessThan(cases.length)
    })

  it('and passes the sound one', async () => {
    expect(
      await brokenCases(
        cases,
        nothingToClean(() => new Delegating()),
        20_000,
      ),
    ).toEqual([])
  })
})
