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

/** Key, family, qualifier and value of every cell, by the official client. */
export async function rawCells(port: number, { name }: BigtableTable): Promise<string[][]> {
  const { Bigtable } = await import('@google-cloud/bigtable')
  process.env['BIGTABLE_EMULATOR_HOST'] = `127.0.0.1:${port}`
  const client = new Bigtable({ projectId: 'test', metricsEnabled: false })
  const [rows] = await client.instance('instance').table(name.split('/').at(-1)!).getRows()
  const cells = rows.flatMap(({ id, data }) =>
    Object.entries(data as Record<string, Record<string, { value: string }[]>>).flatMap(([family, columns]) =>
      Object.entries(columns).flatMap(([qualifier, values]) =>
        values.map(({ value }) => [id, family, qualifier, String(value)]),
      ),
    ),
  )
  await client.close()
  return cells
}
