import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Digest } from '../../src/model/castore/digest.ts'
import { Directory } from '../../src/model/castore/directory.ts'
import { parseBigtableUrl } from '../../src/services/bigtable-address.ts'
import { type BigtableTable, openBigtableTable } from '../../src/services/bigtable-table.ts'
import { bigtableDirectoryService } from '../../src/services/directories/bigtable.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { bigtablePathInfoService } from '../../src/services/pathinfos/bigtable.ts'
import { verifyingPathInfoService } from '../../src/services/pathinfos/verifying.ts'
import { emptyTable, rawCells } from '../support/bigtable.ts'
import { bigtableServer, type CloudServer } from '../support/cloud-servers.ts'
import { collect } from '../support/collect.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
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

    describe('a table', () => {
      const KEY = Buffer.alloc(32, 0xab)
      const ROW = 'ab'.repeat(32)

      it('has the rows of the wire specification: key and qualifier in hexadecimal, one cell', async () => {
        await using table = await emptyTable(running.port)
        expect(await table.putIfAbsent(KEY, Buffer.from('value'))).toBe(true)
        expect(await table.putIfAbsent(KEY, Buffer.from('other'))).toBe(false)
        expect(await rawCells(running.port, table)).toEqual([[ROW, 'cf.1', ROW, 'value']])
      })

      it('takes cells of 10 MiB, and no larger one', async () => {
        await using table = await emptyTable(running.port)
        const largest = pseudoRandom(10 * 1024 * 1024, 1)
        await table.putIfAbsent(KEY, largest)
        expect(Buffer.compare((await table.get(KEY)) ?? Buffer.of(), largest)).toBe(0)
        const larger = table.putIfAbsent(Buffer.alloc(32), Buffer.alloc(largest.length + 1))
        await expect(larger).rejects.toMatchObject({
          code: 'exhausted',
          message: expect.stringContaining(table.name),
        })
      })

      it('that was opened read-only takes nothing', async () => {
        await using table = await emptyTable(running.port, '&is_read_only=true')
        await expect(table.putIfAbsent(KEY, Buffer.of(1))).rejects.toMatchObject({ code: 'precondition' })
        expect(await table.get(KEY)).toBeUndefined()
      })

      it('that holds other bytes than the digest says is found out', async () => {
        await using table = await emptyTable(running.port)
        await table.putIfAbsent(KEY, Directory.from([]).encoded)
        const directories = verifyingDirectoryService(bigtableDirectoryService(table), table.name)
        await expect(directories.get(Digest.fromBytes(KEY))).rejects.toMatchObject({ code: 'corrupt' })
      })

      it('that does not exist is an error, and no empty table', async () => {
        process.env['BIGTABLE_EMULATOR_HOST'] = `127.0.0.1:${running.port}`
        const url = 'bigtable://instance?project_id=test&table_name=no-such&family_name=cf.1'
        await using table = await openBigtableTable(parseBigtableUrl(url))
        const failure = {
          code: 'precondition',
          message: expect.stringContaining('bigtable://instance/no-such'),
        }
        await expect(table.get(KEY)).rejects.toMatchObject(failure)
        await expect(table.putIfAbsent(KEY, Buffer.of(1))).rejects.toMatchObject(failure)
        await expect(collect(table.list())).rejects.toMatchObject(failure)
      })

      it('that nobody serves is unavailable', { timeout: 60_000 }, async () => {
        process.env['BIGTABLE_EMULATOR_HOST'] = '127.0.0.1:1'
        const url = 'bigtable://instance?project_id=test&table_name=t&family_name=cf.1&timeout=1'
        await using table = await openBigtableTable(parseBigtableUrl(url))
        await expect(table.get(KEY)).rejects.toMatchObject({
          code: expect.stringMatching(/unavailable|deadline/),
        })
      })
    })

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
