import type { CastoreTree } from '../mount/tree/castore-tree.ts'
import type { ReloadableStores } from '../services/composition/reloadable-stores.ts'
import { StoreError } from '../support/errors.ts'
import type { Logger } from '../support/log.ts'
import { announceReloaded, announceReloading } from './readiness.ts'

/** Turns to what the settings say now, or keeps what there is; what is gone from the root disappears. */
export async function reloadTree(stores: ReloadableStores, tree: CastoreTree, logger: Logger): Promise<void> {
  announceReloading(logger)
  try {
    await stores.reload()
    logger.info({ store: stores.describe }, 'the stores were opened anew')
  } catch (error) {
    const { code, message } = StoreError.from(error)
    logger.error({ code }, `the stores stay what they were: ${message}`)
  }
  await tree.checkRoot()
  announceReloaded(logger)
}
