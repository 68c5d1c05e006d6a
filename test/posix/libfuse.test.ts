/**
 * The same promises through the libfuse driver, less those that libfuse 2 and fuse-native cannot keep. Each deviation is
 * named with its reason; one that is none any more fails.
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { importedPath, localStoreFlags } from '../support/cli.ts'
import { whyNoLibfuse } from '../support/libfuse.ts'
import { type ChildMount, MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'
import { posixCases } from './all.ts'
import type { MountedSample } from './mounted.ts'

/** By the title of the case. */
const DEVIATIONS: Readonly<Record<string, string>> = {
  'lists in byte order, and names of any bytes': 'names are strings: those that are not UTF-8 are not shown',
  'names that are not UTF-8': 'names are strings',
  'every name of one byte is found and leads to its own file': 'names are strings',
  'reads links as they are, whatever they lead to': 'targets are strings: one that is not UTF-8 is EIO',
  'inode numbers are stable, also when the kernel forgets': 'libfuse numbers inodes as it meets them',
  'file handles cannot be taken: they would mean other files after the next mount':
    'libfuse hands them out for as long as it runs',
  'lists and reads extended attributes, if there are any, without a trap':
    'how much room the caller has is not told: too little is no ERANGE',
}

const reason = whyNoMounts() ?? whyNoLibfuse()

describe.skipIf(reason)(`POSIX, through libfuse${reason ? ` (skipped: ${reason})` : ''}`, () => {
  let namespace: MountNamespace
  let mount: ChildMount
  let sample: MountedSample

  beforeAll(async () => {
    namespace = await MountNamespace.create()
    mount = await namespace.mount('sample', await namespace.directory('mnt'), { driver: 'libfuse' })
    sample = {
      dir: mount.target,
      run: (program, ...args) => namespace.run(program, ...args),
      python: (script, ...args) => namespace.python(script, ...args),
    }
  })
  afterAll(async () => {
    await mount?.stop()
    await namespace?.[Symbol.asyncDispose]()
  })

  for (const [family, cases] of Object.entries(posixCases))
    describe(family, () => {
      for (const { title, run } of cases) {
        const deviation = DEVIATIONS[title]
        const name = deviation ? `${title} (deviates: ${deviation})` : title
        it(name, async () => {
          if (deviation) await expect(Promise.resolve(run(sample))).rejects.toThrow()
          else await run(sample)
        })
      }
    })

  it('serves a store to the command', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tvix-store-libfuse-'))
    try {
      mkdirSync(join(folder, 'source/inner'), { recursive: true })
      for (const [name, size] of [
        ['small', 10],
        ['inner/large', 3_000_000],
      ] as const)
        writeFileSync(join(folder, 'source', name), randomBytes(size))
      const flags = localStoreFlags(folder)
      const path = await importedPath(flags, join(folder, 'source'))
      const target = await namespace.directory('store')
      await using store = await StoreMount.start(namespace, target, ['--driver', 'libfuse', ...flags])
      const { status, stdout } = await namespace.run(
        'diff',
        '-r',
        join(folder, 'source'),
        join(target, basename(path)),
      )
      expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
      expect(await store.stop()).toBe(0)
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
