import { describe, expect, test } from 'vitest'
import { Digest } from '../../../../src/model/castore/digest.ts'
import { memoryBlobService } from '../../../../src/services/blobs/memory.ts'
import { LayerMetrics } from '../../../../src/services/composition/layer-metrics.ts'
import {
  measuredBlobService,
  measuredDirectoryService,
  measuredPathInfoService,
} from '../../../../src/services/composition/measured.ts'
import { memoryDirectoryService } from '../../../../src/services/directories/memory.ts'
import { memoryPathInfoService } from '../../../../src/services/pathinfos/memory.ts'
import { StoreError } from '../../../../src/support/errors.ts'
import { renderMetrics } from '../../../../src/support/metrics.ts'
import { blobServiceSuite } from '../../../conformance/blob-service.ts'
import { directoryServiceSuite } from '../../../conformance/directory-service.ts'
import { pathInfoServiceSuite } from '../../../conformance/path-info-service.ts'
import { nothingToClean } from '../../../conformance/suite.ts'
import { collect } from '../../../support/collect.ts'

const metrics = new LayerMetrics()

blobServiceSuite(
  'blob service: measured',
  nothingToClean(() => measuredBlobService(memoryBlobService(), 'backend', metrics)),
  { chunks: 'whole' },
)
directoryServiceSuite(
  'directory service: measured',
  nothingToClean(() => measuredDirectoryService(memoryDirectoryService(), 'backend', metrics)),
  { singlePuts: 'any' },
)
pathInfoServiceSuite(
  'path info service: measured',
  nothingToClean(() => measuredPathInfoService(memoryPathInfoService(), 'backend', metrics)),
)

describe('what is counted', () => {
  const absent = Digest.of(Buffer.from('absent'))
  const numbers = (of: LayerMetrics, name: string) =>
    renderMetrics(of.all)
      .split('\n')
      .filter((line) => line.startsWith(`tvix_store_service_${name}{`))

  test('calls by status, and bytes both ways', async () => {
    const counted = new LayerMetrics()
    const blobs = measuredBlobService(memoryBlobService(), 'verified', counted)
    const writer = blobs.openWrite()
    await writer.write(Buffer.from('12345'))
    const digest = await writer.close()
    await writer.close()
    for await (const _ of (await blobs.openRead(digest))!);
    await blobs.openRead(absent)
    await blobs.has(absent)
    const labels = (method: string, status: string) =>
      `service="blobs",method="${method}",layer="verified",status="${status}"`
    expect(numbers(counted, 'calls_total').sort()).toEqual([
      `tvix_store_service_calls_total{${labels('has', 'NOT_FOUND')}} 1`,
      `tvix_store_service_calls_total{${labels('read', 'NOT_FOUND')}} 1`,
      `tvix_store_service_calls_total{${labels('read', 'OK')}} 1`,
      `tvix_store_service_calls_total{${labels('write', 'OK')}} 1`,
    ])
    expect(numbers(counted, 'bytes_total').map((line) => line.split(' ')[1])).toEqual(['5', '5'])
  })

  test('failures as what a client would be told, and readers that leave', async () => {
    const counted = new LayerMetrics()
    const broken = {
      ...memoryBlobService(),
      has: async () => Promise.reject(new StoreError('unavailable', 'away')),
      openRead: async () =>
        (async function* () {
          yield Buffer.from('x')
          throw new StoreError('corrupt', 'broken')
        })(),
    }
    const blobs = measuredBlobService(broken, 'backend', counted)
    await expect(blobs.has(absent)).rejects.toThrow('away')
    await expect(collect((await blobs.openRead(absent))!)).rejects.toThrow('broken')
    for await (const _ of (await blobs.openRead(absent))!) break
    expect(numbers(counted, 'calls_total').map((line) => /status="(\w+)"} 1/.exec(line)?.[1])).toEqual([
      'UNAVAILABLE',
      'DATA_LOSS',
      'CANCELLED',
    ])
  })
})
