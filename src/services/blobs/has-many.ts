import type { Digest } from '../../model/castore/digest.ts'
import type { Call } from '../../support/call.ts'
import { HAS_AT_ONCE_MAX } from '../../support/limits.ts'
import type { BlobService } from './interface.ts'

/** Which of these blobs a service has, in their order: at once where it can, else a number at a time. */
export async function hasMany(
  blobs: BlobService,
  digests: readonly Digest[],
  call?: Call,
): Promise<readonly boolean[]> {
  if (blobs.hasMany) return await blobs.hasMany(digests, call)
  const answers: boolean[] = []
  for (let start = 0; start < digests.length; start += HAS_AT_ONCE_MAX) {
    const some = digests.slice(start, start + HAS_AT_ONCE_MAX)
    answers.push(...(await Promise.all(some.map((digest) => blobs.has(digest, call)))))
  }
  return answers
}
