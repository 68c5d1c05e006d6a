/** Raw files of this machine, read through a mount: out of the page cache, in order and at random, and while they are written to. */
import { randomBytes } from 'node:crypto'
import { mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { importedName, runOk } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const LARGE_BYTES = 9_000_001

/** Four processes read two files: one after the other in order, both in turns, at random, and mapped. Prints how often they were wrong. */
const READ = `
import mmap, os, random, sys
folder, source = sys.argv[1:3]
wanted = {name: open(os.path.join(source, name), 'rb').read() for name in ('a', 'b')}
def in_order():
    return sum(open(os.path.join(folder, name), 'rb').read() != wanted[name] for name in wanted)
def in_turns():
    files = {name: open(os.path.join(folder, name), 'rb', 0) for name in wanted}
    wrong = 0
    for at in range(0, ${LARGE_BYTES}, 300_000):
        for name, file in files.items(): wrong += os.pread(file.fileno(), 300_000, at) != wanted[name][at:at + 300_000]
    return wrong
def at_random():
    wrong = 0
    with open(os.path.join(folder, 'a'), 'rb', 0) as file:
        for i in range(300):
            at = random.randrange(${LARGE_BYTES})
            wrong += os.pread(file.fileno(), 70_000, at) != wanted['a'][at:at + 70_000]
    return wrong
def mapped():
    with open(os.path.join(folder, 'b'), 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as map:
        return map[:] != wanted['b']
children = []
for work in (in_order, in_turns, at_random, mapped):
    pid = os.fork()
    if pid == 0: os._exit(work())
    children.append(pid)
print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
`

/** Reads the first megabytes, waits for a line, and reads on: prints what became of each of the nine. */
const READ_ON = `
import os, sys
path, wanted = sys.argv[1], open(sys.argv[2], 'rb').read()
file = os.open(path, os.O_RDONLY)
def piece(i):
    at, end = i << 20, min((i + 1) << 20, len(wanted))
    while at < end:
        # Less than was asked for, where what comes then cannot be read.
        try: read = os.pread(file, end - at, at)
        except OSError as error: return os.strerror(error.errno)
        if not read or read != wanted[at:at + len(read)]: return 'WRONG'
        at += len(read)
    return 'right'
first = [piece(i) for i in range(2)]
open(sys.argv[3], 'w').write('read')
os.close(os.open(sys.argv[4], os.O_RDONLY))
print(', '.join(first + [piece(i) for i in range(2, 9)]))
`

describe.skipIf(reason)(reason ? `raw files (skipped: ${reason})` : 'raw files', () => {
  let folder: string
  let namespace: MountNamespace
  let flags: string[]
  let path: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-raw-'))
    mkdirSync(join(folder, 'source'))
    for (const name of ['a', 'b', 'c']) writeFileSync(join(folder, 'source', name), randomBytes(LARGE_BYTES))
    flags = [
      `--blob-service-addr=files://${folder}/raw`,
      `--directory-service-addr=lmdb://${folder}/directories.lmdb`,
      `--path-info-service-addr=lmdb://${folder}/pathinfo.lmdb`,
    ]
    namespace = await MountNamespace.create()
    const environment = { XDG_CACHE_HOME: folder }
    path = await importedName(flags, join(folder, 'source'), environment)
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  const start = async (name: string) =>
    await StoreMount.start(namespace, await namespace.directory(name), flags)

  async function blobOf(source: string): Promise<string> {
    const blobs = join(folder, 'raw/blobs')
    const wanted = (await (await open(source)).readFile()).subarray(0, 64)
    for (const name of await readdir(blobs, { recursive: true })) {
      const blob = join(blobs, name)
      if (statSync(blob).size !== LARGE_BYTES) continue
      await using file = await open(blob)
      const { buffer } = await file.read(Buffer.alloc(64), 0, 64, 0)
      if (buffer.equals(wanted)) return blob
    }
    throw new Error(`${source} is not in the store`)
  }

  test('are what was imported, for several that read them at a time in several ways', async () => {
    await using mount = await start('all')
    const [files, source] = [join(mount.target, path), join(folder, 'source')]
    const { stdout, stderr } = await namespace.run('python3', '-c', READ, files, source)
    expect(stdout.trim() + stderr).toBe('0')
    expect(await mount.stop()).toBe(0)
  })

  test('show nothing of what was written to them while they are read, whatever their times say', async () => {
    await using mount = await start('changed')
    const source = join(folder, 'source/c')
    const blob = await blobOf(source)
    const [told, go] = [join(folder, 'told'), join(folder, 'go')]
    await runOk('mkfifo', [told, go])
    const reading = namespace.run('python3', '-c', READ_ON, join(mount.target, path, 'c'), source, told, go)
    await (await open(told)).close()
    {
      const { atime, mtime } = statSync(blob)
      await using file = await open(blob, 'r+')
      const { buffer } = await file.read(Buffer.alloc(1), 0, 1, 7_000_000)
      await file.write(Buffer.of(buffer[0]! ^ 1), 0, 1, 7_000_000)
      utimesSync(blob, atime, mtime)
    }
    await (await open(go, 'w')).close()
    const { stdout, stderr } = await reading
    const pieces = (stdout.trim() + stderr).split(', ')
    expect(pieces).not.toContain('WRONG')
    expect(pieces[6]).toBe('Input/output error')
    expect(pieces.filter((piece) => piece === 'right').length).toBeGreaterThanOrEqual(7)
  })
})
