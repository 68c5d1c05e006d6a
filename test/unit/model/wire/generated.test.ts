import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { descriptorFiles } from '../../../../src/model/wire/descriptors.ts'
import { tempDir } from '../../../support/temp-dir.ts'

const ROOT = join(import.meta.dirname, '../../../..')
const GENERATED = ['src/model/wire/generated', 'test/golden/generated']

function filesBelow(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  )
  return new Map(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path.slice(folder.length), readFileSync(path, 'utf8')]
    }),
  )
}

test('what is generated from protos/ is up to date', async () => {
  await using dir = await tempDir()
  execFileSync(process.execPath, [join(ROOT, 'scripts/generate-protos.mjs'), dir.path])
  for (const folder of GENERATED) {
    const fresh = filesBelow(join(dir.path, folder))
    expect(fresh.size).toBeGreaterThan(1)
    expect(filesBelow(join(ROOT, folder))).toEqual(fresh)
  }
})

test.each(['tvix', 'snix'] as const)('the descriptors of %s keep the names of their files', (family) => {
  // The name is field 1, the first thing in an encoded FileDescriptorProto.
  const names = descriptorFiles(family).map((file) => Buffer.from(file.subarray(2, 2 + file[1]!)).toString())
  expect(names.sort()).toEqual([
    `${family}/castore/protos/castore.proto`,
    `${family}/castore/protos/rpc_blobstore.proto`,
    `${family}/castore/protos/rpc_directory.proto`,
    `${family}/store/protos/pathinfo.proto`,
    `${family}/store/protos/rpc_pathinfo.proto`,
  ])
})
