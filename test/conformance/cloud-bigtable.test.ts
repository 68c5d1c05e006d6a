import { afterAll, beforeAll, describe, it } from 'vitest'
import type { BigtableTable } from '../../src/services/bigtable-table.ts'
import { bigtableDirectoryService } from '../../src/services/directories/bigtable.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { bigtablePathInfoService } from '../../src/services/pathinfos/bigtable.ts'
import { verifyingPathInfoService } from '../../src/services/pathinfos/verifying.ts'
import { emptyTable } from '../support/bigtable.ts'
import { bigtableServer, type CloudServer } from '../support/cloud-servers.ts'
import { directoryServiceSuite } from './directory-service.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'
import type { Make } from './suite.ts'

const startable = await bigtableServer()
if ('missing' in startable) it.skip(`Bigtable: ${startable.missing}`)
else
  describe('Bigtable', () => {
    let running: CloudServer
    beforeAll(async () => {
      running = await startable.start()
    })
    afterAll(() => running[Symbol.asyncDispose]())

    function on<S>(service: (table: BigtableTable) => S): Make<S> {
      return async () => {
        const table = await emptyTable(running.port, '&channel_size=1')
        return { subject: service(table), [Symbol.asyncDispose]: () => table[Symbol.asyncDispose]() }
      }
    }

    directoryServiceSuite('directory service', on(bigtableDirectoryService), { singlePuts: 'any' })
    directoryServiceSuite(
      'directory service: verifying',
      on((table) => verifyingDirectoryService(bigtableDirectoryService(table), table.name)),
      { singlePuts: 'any' },
    )
    pathInfoServiceSuite('path info service', on(bigtablePathInfoService), { keeps: 'first' })
    pathInfoServiceSuite(
      'path info service: verifying',
      on((table) => verifyingPathInfoService(bigtablePathInfoService(table), table.name)),
      { keeps: 'first' },
    )
  })
