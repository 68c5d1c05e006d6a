import type { Node } from '../model/castore/node.ts'
import type { CopyCastoreOptions, IngestedNar } from '../services/pathinfos/interface.ts'
import { StoreError } from '../support/errors.ts'
import { type Castore, TreeCopier } from './copy-tree.ts'
import { localNarCalculation } from './nar-calculation.ts'

/**
 * Copies a tree instead of ingesting its NAR, and tells size and hash of the NAR that the copy renders to, which is
 * what it has to be judged by. Throws `corrupt` when the source is not complete or has more than the NAR could hold.
 */
export async function copyCastore(
  from: Castore,
  to: Castore,
  node: Node,
  { narSize, progress, ...call }: CopyCastoreOptions,
): Promise<IngestedNar> {
  let bytes = 0n
  const count = (more: number) => {
    bytes += BigInt(more)
    if (bytes > narSize)
      throw new StoreError(
        'corrupt',
        `there is more below the root node than a NAR of ${narSize} bytes holds`,
      )
    progress?.read(more)
  }
  const copier = new TreeCopier(from, to, { reuseChunks: true, progress: { moved: count, present: count } })
  await copier.copy(node, { thorough: false, ...call })
  return { node, ...(await localNarCalculation(to).calculateNar(node, call)) }
}
