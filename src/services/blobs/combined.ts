import type { SourceSet } from '../source-set.ts'
import type { BlobService } from './interface.ts'
import { priorityBlobService } from './priority.ts'

/** Reads from every source in order, writes to `local` only; nothing is copied (spec §3.2, "combined"). */
export function combinedBlobService(local: BlobService, set: SourceSet<BlobService>): BlobService {
  return { ...priorityBlobService(set), openWrite: (call) => local.openWrite(call) }
}
