/** The same promises of a mount over every kind of store of this machine: the whole way, from a tree on disk. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { ALL_LOCAL_BLOBS, importedName, localStoreFlags } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'
import { posixCases } from './all.ts'
import type { MountedSample } from './mounted.ts'
import { type SampleNode, sampleTree } from './sample.ts'

const reason = whyNoMounts()
const title = reason ? `POSIX, over a store (skipped: ${reason}): ` : 'POSIX, over a store: '

describe.skipIf(reason).each(ALL_LOCAL_BLOBS)(`${title}%s`, (blobs) => {
  let folder: string
  let namespace: MountNamespace
  let mount: StoreMount
  let sample: MountedSample

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-posix-'))
    const source = join(folder, 'sample')
    write(Buffer.from(source), sampleTree(readFileSync('/bin/true')))
    const flags = localStoreFlags(folder, blobs)
    const path = await importedName(flags, source)
    namespace = await MountNamespace.create()
    mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
    sample = {
      dir: join(mount.target, path),
      run: (program, ...args) => namespace.run(program, ...args),
      python: (script, ...args) => namespace.python(script, ...args),
    }
  })

  afterAll(async () => {
    await mount?.[Symbol.asyncDispose]()
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  for (const [family, cases] of Object.entries(posixCases))
    describe(family, () => {
      for (const { title, run } of cases) it(title, () => run(sample))
    })
})

function write(path: Buffer, node: SampleNode): void {
  switch (node.kind) {
    case 'symlink':
      symlinkSync(Buffer.from(node.target), path)
      break
    case 'file':
      writeFileSync(path, node.contents, { mode: node.executable ? 0o755 : 0o644 })
      break
    case 'directory':
      mkdirSync(path)
      for (const [name, inner] of node.entries)
        write(Buffer.concat([path, Buffer.from('/'), Buffer.from(name, 'latin1')]), inner)
  }
}
