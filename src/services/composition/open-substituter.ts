import type { SizeFormula } from '../../model/castore/directory.ts'
import type { Call } from '../../support/call.ts'
import type { Logger } from '../../support/log.ts'
import { httpClient } from '../http-client.ts'
import type { PathInfoService } from '../pathinfos/interface.ts'
import { nixHttpPathInfoService } from '../pathinfos/nix-http.ts'
import { substitutingPathInfoService } from '../pathinfos/substituting.ts'
import type { SubstitutingAddress } from './address.ts'
import { CastorePeers } from './castore-peers.ts'
import type { Castore, NarTransfer } from './nar-transfer.ts'

export interface SubstituterSettings {
  readonly nars: NarTransfer
  /** Where contents go. */
  readonly castore: Castore
  /** What sizes of directories that place takes; `rust` unless it can be asked. */
  readonly askSizeFormula: ((call?: Call) => Promise<SizeFormula>) | undefined
  /** Where path infos go; without it they are remembered as long as the process lives. */
  readonly near: PathInfoService | undefined
  /** What is opened is left here, to be closed with the rest. */
  readonly opened: AsyncDisposableStack
  readonly logger?: Logger
}

/** The service that an address of binary caches stands for. */
export function openSubstituter(
  { caches }: SubstitutingAddress,
  settings: SubstituterSettings,
): PathInfoService {
  const { nars, castore, askSizeFormula, near, opened, logger } = settings
  const client = opened.use(httpClient())
  const peers = opened.use(new CastorePeers())
  const far = nixHttpPathInfoService({
    client,
    caches,
    substitution: {
      async ingest(nar, options) {
        const sizeFormula = await askSizeFormula?.(options)
        return await nars.ingestNar(castore, nar, { ...options, sizeFormula })
      },
      check: (pathInfo, ingested, call) => nars.checkPathInfo(castore, pathInfo, ingested, call),
      copyCastore: async (origin, node, options) =>
        nars.copyCastore(await peers.at(origin), castore, node, options),
      ...(near && { keep: (pathInfo, call) => near.put(pathInfo, call) }),
    },
    ...(logger && { logger }),
  })
  // Last opened, first closed: what goes on in the background needs all of the others.
  opened.use(far)
  return near ? substitutingPathInfoService(near, far) : far
}
