import { join } from 'node:path'
import type { PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { openLmdbPathInfoService } from '../../src/services/pathinfos/lmdb.ts'
import { memoryPathInfoService } from '../../src/services/pathinfos/memory.ts'
import { verifyingPathInfoService } from '../../src/services/pathinfos/verifying.ts'
import { tempDir } from '../support/temp-dir.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'
import { type Make, nothingToClean } from './suite.ts'

const backends: readonly [string, Make<PathInfoService>][] = [
  ['memory', nothingToClean(memoryPathInfoService)],
  ['LMDB', makeLmdb],
]

for (const [name, make] of backends) {
  pathInfoServiceSuite(`path info service: ${name}`, make)
  pathInfoServiceSuite(`path info service: verifying over ${name}`, verifyingOver(make))
}

async function makeLmdb() {
  const dir = await tempDir()
  const subject = await openLmdbPathInfoService(join(dir.path, 'pathinfo.lmdb'))
  return {
    subject,
    async [Symbol.asyncDispose]() {
      await subject[Symbol.asyncDispose]()
      await dir[Symbol.asyncDispose]()
    },
  }
}

function verifyingOver(make: Make<PathInfoService>): Make<PathInfoService> {
  return async () => {
    const made = await make()
    return {
      subject: verifyingPathInfoService(made.subject, 'the base'),
      [Symbol.asyncDispose]: () => made[Symbol.asyncDispose](),
    }
  }
}
