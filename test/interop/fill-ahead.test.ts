/** Small files that are pushed into the page cache: real threads, a real kernel, chunks of a real store. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALL_LOCAL_BLOBS, importedName, type LocalBlobs, localStoreFlags } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const DIRECTORIES = 20
const FILES = 50

/** Lists everything, then reads every file, and compares each with what is behind the mount. */
const COMPARE = `
import os, sys
mounted, source = map(os.fsencode, sys.argv[1:])
paths = [os.path.join(folder, name) for folder, _, names in os.walk(mounted) for name in sorted(names)]
wrong = 0
for path in paths:
    with open(path, 'rb') as got, open(path.replace(mounted, source), 'rb') as wanted:
        wrong += got.read() != wanted.read()
print(len(paths), wrong)
`

/** Where a test finds the file of a small blob, to spoil it. */
const FILES_BELOW: Partial<Record<LocalBlobs, string>> = {
  files: 'blobs.object_store/chunks',
  raw: 'blobs.raw/blobs',
}
const title = reason ? `pushed files (skipped: ${reason}): ` : 'pushed files: '

describe.skipIf(reason).each(ALL_LOCAL_BLOBS)(`${title}%s`, (blobs) => {
  let folder: string
  let source: string
  let namespace: MountNamespace
  let flags: string[]
  let path: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-fill-'))
    source = join(folder, 'source')
    for (let d = 0; d < DIRECTORIES; d++) {
      mkdirSync(join(source, `d${d}`), { recursive: true })
      for (let f = 0; f < FILES; f++) writeFileSync(join(source, `d${d}/f${f}`), contents(d * FILES + f))
    }
    flags = localStoreFlags(folder, blobs)
    namespace = await MountNamespace.create()
    path = await importedName(flags, source)
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  /** From one byte to more than is pushed; noise and text. */
  function contents(n: number): Uint8Array {
    const size = 1 + ((n * 331) % 18_000)
    return n % 2 ? randomBytes(size) : Buffer.from(`${n} `.repeat(size)).subarray(0, size)
  }

  async function start(name: string): Promise<StoreMount> {
    return await StoreMount.start(namespace, await namespace.directory(name), ['--list-root', ...flags])
  }

  async function compare(mount: StoreMount): Promise<string> {
    const { stdout } = await namespace.run('python3', '-c', COMPARE, join(mount.target, path), source)
    return stdout.trim()
  }

  test('are right, and spare the reads', async () => {
    await using mount = await start('right')
    // Else a busy machine may run the reader to its end before the threads.
    await namespace.run(
      'sh',
      '-c',
      `cd "$0" && cd "$(ls | head -1)" && cat $(ls | head -3)`,
      join(mount.target, path),
    )
    await until(async () => (await mount.stats()).kernel.filled.files > 0)
    expect(await compare(mount)).toBe(`${DIRECTORIES * FILES} 0`)
    const { kernel } = await mount.stats()
    expect(kernel.filled.failed).toBe(0)
    expect(kernel.requests['READ']).toBeLessThan(DIRECTORIES * FILES)
    expect(await mount.stop()).toBe(0)
  })

  test('reach the kernel when it knows the files, also of a directory that is read as soon as it is listed', async () => {
    await using mount = await start('in-turn')
    await namespace.run(
      'sh',
      '-c',
      `for d in "$0"/*; do cat "$d"/* > /dev/null; done`,
      join(mount.target, path),
    )
    await until(async () => (await mount.stats()).kernel.filled.files > 0)
    expect((await mount.stats()).kernel.filled.failed).toBe(0)
    expect(await mount.stop()).toBe(0)
  })

  test.runIf(FILES_BELOW[blobs])(
    'a chunk that is not what its name says is never pushed: reading it fails, the others are right',
    async () => {
      await using mount = await start('corrupt')
      const chunks = execFileSync(
        'find',
        [join(folder, FILES_BELOW[blobs]!), '-type', 'f', '-size', '-12k'],
        {
          encoding: 'utf8',
        },
      )
      const [first, second] = chunks.trim().split('\n')
      const original = execFileSync('cat', [first!])
      try {
        // A well-formed frame with the bytes of another chunk.
        writeFileSync(first!, execFileSync('cat', [second!]))
        const { stdout, stderr } = await namespace.run(
          'sh',
          '-c',
          `find "$0" >/dev/null; cat "$0"/*/* | wc -c`,
          join(mount.target, path),
        )
        expect(stderr.match(/Input\/output error/g)).toHaveLength(1)
        expect(Number(stdout)).toBeGreaterThan(0)
        expect((await mount.stats()).kernel.filled.files).toBeGreaterThan(0)
        // Threads tell nobody what is wrong; the service that was asked then does.
        expect(mount.log).toContain('corrupt')
      } finally {
        writeFileSync(first!, original)
      }
    },
  )

  test('unmounting in the middle of it ends at once', async () => {
    for (let round = 0; round < 3; round++) {
      await using mount = await start(`stop-${round}`)
      const reader = namespace.run(
        'sh',
        '-c',
        `find "$0" >/dev/null; cat "$0"/*/* >/dev/null`,
        join(mount.target, path),
      )
      await until(async () => (await mount.stats()).kernel.filled.files > 0)
      expect(await mount.stop()).toBe(0)
      await reader
    }
  })
})

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}
