/** Files of one chunk or a few, of which a part is read first, as of a program that is started: right, and never what was damaged. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ALL_LOCAL_BLOBS, importedName, localStoreFlags } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { StoreMount } from '../support/store-mount.ts'
import { tempDir } from '../support/temp-dir.ts'

const reason = whyNoMounts()
const title = reason ? `parts of chunks (skipped: ${reason})` : 'parts of chunks'

/** Bytes: below and above what is one chunk for sure, and what is read on the spot. */
const SIZES = [66_000, 131_000, 240_000, 500_000, 1_500_000]
const DAMAGED = 120_001

/** Two processes read each file from its beginning, its end and its middle on. Prints what is wrong. */
const READ = `
import os, sys
folder, source = sys.argv[1:3]
def wrong(name):
    wanted = open(os.path.join(source, name), 'rb').read()
    with open(os.path.join(folder, name), 'rb', 0) as file:
        starts = [0, len(wanted) - 4097, len(wanted) // 2, 65_535, 1]
        return [(name, at) for at in starts if os.pread(file.fileno(), 20_000, at) != wanted[at:at + 20_000]] + \\
            [(name, 'all') for _ in '.' if open(os.path.join(folder, name), 'rb').read() != wanted]
names = sorted(os.listdir(source))
if os.fork() == 0:
    found = [each for name in reversed(names) for each in wrong(name)]
    os._exit(len(found))
found = [each for name in names for each in wrong(name)]
print(found, os.waitstatus_to_exitcode(os.wait()[1]))
`

/** Prints what a read of a few bytes says, and that of another file then. */
const READ_DAMAGED = `
import os, sys
def read(path):
    try: return len(os.pread(os.open(path, os.O_RDONLY), 100, 0))
    except OSError as error: return os.strerror(error.errno)
print(read(sys.argv[1]), read(sys.argv[1]), read(sys.argv[2]))
`

describe.skipIf(reason)(title, () => {
  test.each(ALL_LOCAL_BLOBS)('of %s are what was imported, for two that read at a time', async (blobs) => {
    await using dir = await tempDir()
    const source = join(dir.path, 'source')
    mkdirSync(source)
    for (const size of SIZES) {
      writeFileSync(join(source, `noise-${size}`), pseudoRandom(size, size))
      writeFileSync(join(source, `text-${size}`), `${size} of these lines are a file\n`.repeat(size / 25))
    }
    const flags = localStoreFlags(dir.path, blobs)
    const name = await importedName(flags, source, { XDG_CACHE_HOME: dir.path })
    await using namespace = await MountNamespace.create()
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
    const { stdout, stderr } = await namespace.run('python3', '-c', READ, join(mount.target, name), source)
    expect(stdout.trim() + stderr).toBe('[] 0')
    expect(await mount.stop()).toBe(0)
  })

  test.each(ALL_LOCAL_BLOBS)('of %s that were damaged are not shown, and others are', async (blobs) => {
    await using dir = await tempDir()
    const source = join(dir.path, 'source')
    mkdirSync(source)
    const contents = pseudoRandom(DAMAGED, 1)
    writeFileSync(join(source, 'damaged'), contents)
    writeFileSync(join(source, 'whole'), pseudoRandom(DAMAGED, 2))
    const flags = localStoreFlags(dir.path, blobs)
    const name = await importedName(flags, source, { XDG_CACHE_HOME: dir.path })
    expect(flipByte(dir.path, source, contents.subarray(-64))).toBe(1)
    await using namespace = await MountNamespace.create()
    await using mount = await StoreMount.start(namespace, await namespace.directory('store'), flags)
    const [damaged, whole] = [join(mount.target, name, 'damaged'), join(mount.target, name, 'whole')]
    const { stdout, stderr } = await namespace.run('python3', '-c', READ_DAMAGED, damaged, whole)
    expect(stdout.trim() + stderr).toBe('Input/output error Input/output error 100')
  })
})

/** In every file below the folder that has these bytes as they are, which is how noise is stored, but for the source; how many those were. */
function flipByte(folder: string, source: string, bytes: Uint8Array): number {
  let found = 0
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name)
    if (path.startsWith(source) || !statSync(path).isFile()) continue
    const contents = readFileSync(path)
    const at = contents.indexOf(bytes)
    if (at < 0) continue
    contents[at]! ^= 1
    // As a disk does it: with the file that is there.
    execFileSync('dd', [`of=${path}`, 'conv=notrunc', 'status=none'], { input: contents })
    found++
  }
  return found
}
