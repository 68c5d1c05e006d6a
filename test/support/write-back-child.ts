/**
 * Imports trees through a composition: `node write-back-child.ts <composition> <path>…`. Prints `started`, and a line for
 * each path that was stored.
 */
import { openStores } from '../../src/services/composition/open-stores.ts'
import { importPath } from '../../src/transfer/import-path.ts'
import { localNarCalculation } from '../../src/transfer/nar-calculation.ts'

const [, , composition = '', ...sources] = process.argv
await using stores = await openStores({ blobs: '', directories: '', pathInfos: '', composition })
process.stdout.write('started\n')
for (const source of sources) {
  const services = { ...stores, narCalculation: localNarCalculation(stores) }
  const { storePath } = await importPath(services, source, { sizeFormula: 'rust' })
  process.stdout.write(`${storePath}\n`)
}
