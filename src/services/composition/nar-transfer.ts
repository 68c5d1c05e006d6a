import type { Node } from '../../model/castore/node.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import type { Call } from '../../support/call.ts'
import type { BlobService } from '../blobs/interface.ts'
import type { DirectoryService } from '../directories/interface.ts'
import type { CopyCastoreOptions, IngestedNar, IngestNarOptions } from '../pathinfos/interface.ts'

/**
 * What becomes of NARs that come from a binary cache (transfer/ingest-nar.ts, transfer/check-path-info.ts,
 * transfer/copy-castore.ts).
 */
export interface NarTransfer {
  ingestNar(stores: Castore, nar: AsyncIterable<Uint8Array>, options: IngestNarOptions): Promise<IngestedNar>
  checkPathInfo(stores: Castore, claim: PathInfo, ingested: IngestedNar, call: Call): Promise<void>
  copyCastore(from: Castore, to: Castore, node: Node, options: CopyCastoreOptions): Promise<IngestedNar>
}

export interface Castore {
  readonly blobs: BlobService
  readonly directories: DirectoryService
}
