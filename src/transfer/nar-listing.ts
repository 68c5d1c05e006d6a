import type { Node } from '../model/castore/node.ts'
import { ListingBuilder, type ListingNode } from '../model/nar/listing.ts'
import { NarWriter } from '../model/nar/writer.ts'
import type { DirectoryService } from '../services/directories/interface.ts'
import type { Call } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import { NAR_LISTING_ENTRIES_MAX } from '../support/limits.ts'
import { stepEvents, walkNar } from './nar-walk.ts'

/**
 * What the NAR of `root` contains and where (spec §6.10), from directories alone: no blob is read. Throws `corrupt` when
 * a directory is missing, `exhausted` above NAR_LISTING_ENTRIES_MAX entries.
 */
export async function narListing(
  directories: DirectoryService,
  root: Node,
  call?: Call,
): Promise<ListingNode> {
  const writer = new NarWriter()
  const listing = new ListingBuilder()
  let entries = 0
  for await (const steps of walkNar(directories, root, call)) {
    for (const step of steps) {
      for (const event of stepEvents(step)) {
        if (event.type === 'entry' && ++entries > NAR_LISTING_ENTRIES_MAX)
          throw new StoreError(
            'exhausted',
            `a listing has at most ${NAR_LISTING_ENTRIES_MAX} entries; this tree has more`,
          )
        writer.write(event)
        listing.add(event, writer.bytesWritten)
      }
      if (step !== 'end-directory' && step.node.kind === 'file') {
        writer.skipContents(step.size)
        writer.write({ type: 'end-file' })
      }
    }
    writer.take()
  }
  return listing.finish()
}
