import { randomUUID } from 'node:crypto'
import { credentials } from '@grpc/grpc-js'
import { parseBigtableUrl } from '../../src/services/bigtable-address.ts'
import { type BigtableTable, openBigtableTable } from '../../src/services/bigtable-table.ts'

/** An empty table of the emulator on `port`, opened with further parameters. */
export async function emptyTable(port: number, parameters = ''): Promise<BigtableTable> {
  const { v2 } = await import('@google-cloud/bigtable')
  const admin = new v2.BigtableTableAdminClient({
    projectId: 'test',
    servicePath: '127.0.0.1',
    port,
    sslCreds: credentials.createInsecure(),
  })
  const tableId = `table-${randomUUID()}`
  const parent = 'projects/test/instances/instance'
  await admin.createTable({ parent, tableId, table: { columnFamilies: { 'cf.1': {} } } })
  await admin.close()
  process.env['BIGTABLE_EMULATOR_HOST'] = `127.0.0.1:${port}`
  const url = `bigtable://instance?project_id=test&table_name=${tableId}&family_name=cf.1&timeout=20${parameters}`
  return await openBigtableTable(parseBigtableUrl(url))
}
