import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Directory, SizeFormula } from '../../../../src/model/castore/directory.ts'
import {
  LeavesToRootValidator,
  RootToLeavesValidator,
} from '../../../../src/model/castore/directory-order.ts'
import { directoryNode, fileNode, makeDirectory, vectorDirectory } from '../../../support/directories.ts'
import { vectors } from '../../../support/vectors.ts'

const [A, B, C, D, E] = ['A', 'B', 'C', 'D', 'E'].map((name) => vectorDirectory(name)) as [
  Directory,
  Directory,
  Directory,
  Directory,
  Directory,
]
const BROKEN = vectorDirectory('BROKEN_PARENT_DIRECTORY')

interface OrderVector {
  readonly name: string
  readonly root: string
  readonly stream: readonly string[]
  readonly ok: boolean
  readonly fails_at?: string
}

function leavesToRoot(stream: readonly Directory[]) {
  const validator = new LeavesToRootValidator()
  const accepted = stream.filter((directory) => validator.accept(directory))
  return { root: validator.finish(), accepted }
}

function rootToLeaves(root: Directory, stream: readonly Directory[]) {
  const validator = new RootToLeavesValidator(root.digest)
  const accepted = stream.filter((directory) => validator.accept(directory))
  validator.finish()
  return accepted
}

describe('leaves to root', () => {
  for (const vector of vectors.directory_order.leaves_to_root as (OrderVector & { drain: string[] })[])
    it(`vector ${vector.name}`, () => {
      const stream = vector.stream.map((name) => vectorDirectory(name))
      if (vector.ok) {
        const { accepted } = leavesToRoot(stream)
        expect(accepted.map((each) => each.digest.hex)).toEqual(
          vector.drain.map((name) => vectorDirectory(name).digest.hex),
        )
        return
      }
      const validator = new LeavesToRootValidator()
      for (const directory of stream.slice(0, -1)) validator.accept(directory)
      expect(() => validator.accept(stream.at(-1)!)).toThrow()
    })

  it('names the root, though a duplicate comes after it', () => {
    expect(leavesToRoot([A, B, D, A]).root.hex).toBe(D.digest.hex)
  })

  it('refuses a child that was not sent before', () => {
    expect(() => leavesToRoot([B])).toThrow(
      expect.objectContaining({ variant: 'UnknownLTR', message: expect.stringContaining(`${A.digest}`) }),
    )
  })

  it('names both sizes when one is wrong', () => {
    expect(() => leavesToRoot([A, BROKEN])).toThrow(
      expect.objectContaining({
        variant: 'WrongSize',
        message: "'foo' has wrong size, specified 42, recorded 0",
      }),
    )
  })

  it('refuses two roots', () => {
    expect(() => leavesToRoot([A, C, B])).toThrow(expect.objectContaining({ variant: 'Disconnected' }))
  })

  it('refuses an empty upload', () => {
    expect(() => leavesToRoot([])).toThrow(
      expect.objectContaining({ variant: 'EmptySet', message: 'no directories received' }),
    )
  })

  it('forgets a directory that it refused', () => {
    const validator = new LeavesToRootValidator()
    validator.accept(A)
    expect(() => validator.accept(BROKEN)).toThrow()
    // Had the refused parent counted, A would no longer be a root.
    expect(validator.finish().hex).toBe(A.digest.hex)
  })
})

describe('root to leaves', () => {
  for (const vector of vectors.directory_order.root_to_leaves as OrderVector[])
    it(`vector ${vector.name}`, () => {
      const root = vectorDirectory(vector.root)
      const stream = vector.stream.map((name) => vectorDirectory(name))
      if (vector.ok) {
        expect(new Set(rootToLeaves(root, stream).map((each) => each.digest.hex)).size).toBe(
          new Set(vector.stream).size,
        )
        return
      }
      const validator = new RootToLeavesValidator(root.digest)
      for (const directory of stream.slice(0, -1)) validator.accept(directory)
      const last = stream.at(-1)
      expect(() => (last ? validator.accept(last) : validator.finish())).toThrow()
    })

  it('refuses another root', () => {
    expect(() => rootToLeaves(C, [D])).toThrow(
      expect.objectContaining({
        variant: 'Unexpected',
        message: `unexpected Directory with digest ${D.digest} encountered`,
      }),
    )
  })

  it('refuses to end while something is missing', () => {
    expect(() => rootToLeaves(E, [E, D, A])).toThrow(
      expect.objectContaining({
        variant: 'DirectoriesMissing',
        message: expect.stringContaining(`${B.digest}`),
      }),
    )
  })

  it('checks the size that a later parent records of an earlier directory', () => {
    const liar = makeDirectory({ a: { kind: 'directory', digest: A.digest, size: 5n } })
    const root = makeDirectory({ a: directoryNode(A), liar: directoryNode(liar) })
    expect(() => rootToLeaves(root, [root, A, liar])).toThrow(
      expect.objectContaining({ variant: 'WrongSize' }),
    )
  })

  it('checks every size that parents recorded before the child came', () => {
    const right = makeDirectory({ a: directoryNode(C, 'documented') })
    const wrong = makeDirectory({ a: { kind: 'directory', digest: C.digest, size: 99n } })
    const root = makeDirectory({ r: directoryNode(right), w: directoryNode(wrong) })
    expect(() => rootToLeaves(root, [root, right, wrong, C])).toThrow(
      expect.objectContaining({ variant: 'WrongSize' }),
    )
  })
})

describe('any tree', () => {
  /** A closure, leaves first and each once, whose edges use either formula. */
  const closures = fc
    .array(
      fc.record({
        children: fc.array(fc.nat(), { maxLength: 4 }),
        formula: fc.constantFrom<SizeFormula>('rust', 'documented'),
      }),
      { minLength: 1, maxLength: 12 },
    )
    .map((plans) => {
      const made: Directory[] = []
      for (const [i, { children, formula }] of plans.entries()) {
        const nodes = Object.fromEntries(
          children
            .filter(() => made.length > 0)
            .map((child, j) => [`c${j}`, directoryNode(made[child % made.length]!, formula)]),
        )
        made.push(makeDirectory({ ...nodes, [`f${i}`]: fileNode('f') }))
      }
      const root = makeDirectory(Object.fromEntries(made.map((each, i) => [`d${i}`, directoryNode(each)])))
      return [...made, root]
    })

  it('passes in both directions, with duplicates', () => {
    fc.assert(
      fc.property(closures, (closure) => {
        const root = closure.at(-1)!
        expect(leavesToRoot([...closure, ...closure]).root.hex).toBe(root.digest.hex)
        expect(rootToLeaves(root, [...closure.toReversed(), ...closure])).toHaveLength(closure.length)
      }),
    )
  })

  it('fails when any directory but the root is left out', () => {
    fc.assert(
      fc.property(closures, fc.nat(), (closure, at) => {
        const without = closure.toSpliced(at % (closure.length - 1), 1)
        expect(() => leavesToRoot(without)).toThrow()
        expect(() => rootToLeaves(closure.at(-1)!, without.toReversed())).toThrow()
      }),
    )
  })
})
