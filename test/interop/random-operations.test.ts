/**
 * A mount against the tree that was imported into it: random reads, maps, stats, listings and lookups, each compared with what
 * the source says. 20,000 of them, and 1,000,000 with `scripts/test --full`.
 */
import { randomInt } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ALL_LOCAL_BLOBS, importedName, localStoreFlags } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { FULL } from '../support/requirements.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { StoreMount } from '../support/store-mount.ts'

const reason = whyNoMounts()
const OPERATIONS = FULL ? 1_000_000 : 20_000

/** Prints how many operations were done and the first that differed. Caches are dropped now and then, where that is allowed. */
const CHECK = `
import json, mmap, os, random, stat, sys
mounted, source, count, seed = os.fsencode(sys.argv[1]), os.fsencode(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
random.seed(seed)
folders, files, links = [b''], [], []
for folder, names, others in os.walk(source):
    for name in names + others:
        path = os.path.relpath(os.path.join(folder, name), source)
        mode = os.lstat(os.path.join(source, path)).st_mode
        (links if stat.S_ISLNK(mode) else folders if stat.S_ISDIR(mode) else files).append(path)
everything = folders + files + links

def outcome(work, root, path):
    try:
        return work(os.path.join(root, path))
    except OSError as error:
        return error.errno

def opened(path, work):
    fd = os.open(path, os.O_RDONLY)
    try:
        return work(fd)
    finally:
        os.close(fd)

def attributes(path):
    found = os.lstat(path)
    kind = stat.S_IFMT(found.st_mode)
    size = found.st_size if kind != stat.S_IFDIR else None
    return kind, size, bool(found.st_mode & 0o111) if kind == stat.S_IFREG else None

def absent(path):
    return attributes(path + random.choice([b'x', b'/', b'/x', b'\\xff']))

def operation():
    kind = random.choice(['read'] * 6 + ['map'] * 2 + ['stat', 'list', 'link', 'absent'])
    if kind in ('read', 'map'):
        path = random.choice(files)
        size = os.lstat(os.path.join(source, path)).st_size
        offset, length = random.randint(0, size + 10), int(2 ** random.uniform(0, 21))
        if kind == 'read':
            return path, lambda p: opened(p, lambda fd: os.pread(fd, length, offset))
        def mapped(fd):
            if size == 0: return b''
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as pages: return pages[offset:offset + length]
        return path, lambda p: opened(p, mapped)
    if kind == 'stat': return random.choice(everything), attributes
    if kind == 'list': return random.choice(folders), lambda p: sorted(os.listdir(p))
    if kind == 'link': return random.choice(links + files[:3]), os.readlink
    state = random.getstate()
    def missing(path):
        random.setstate(state)
        return absent(path)
    return random.choice(files + folders), missing

different = []
for done in range(count):
    if done % (count // 10) == 0:
        try:
            with open('/proc/sys/vm/drop_caches', 'w') as caches: caches.write('2')
        except OSError: pass
    path, work = operation()
    if outcome(work, mounted, path) != outcome(work, source, path) and len(different) < 3:
        different.append([done, os.fsdecode(path).encode('utf8', 'replace').decode()])
print(json.dumps({'done': count, 'different': different}))
`

const title = reason ? `random operations (skipped: ${reason}): ` : 'random operations: '

describe.skipIf(reason).each(ALL_LOCAL_BLOBS)(`${title}%s`, (blobs) => {
  let folder: string
  let source: string
  let namespace: MountNamespace
  let flags: string[]
  let path: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tvix-store-random-'))
    source = join(folder, 'source')
    makeSourceTree(source)
    flags = localStoreFlags(folder, blobs)
    namespace = await MountNamespace.create()
    path = await importedName(flags, source)
  })

  afterAll(async () => {
    await namespace?.[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function check(
    mount: StoreMount,
    operations: number,
  ): Promise<{ done: number; different: unknown[] }> {
    const seed = randomInt(2 ** 31)
    const place = [join(mount.target, path), source, String(operations), String(seed)]
    return (await namespace.python(CHECK, ...place)) as { done: number; different: unknown[] }
  }

  test('show what is behind the mount, every time', { timeout: FULL ? 600_000 : 60_000 }, async () => {
    await using mount = await StoreMount.start(namespace, await namespace.directory('right'), flags)
    expect(await check(mount, OPERATIONS)).toEqual({ done: OPERATIONS, different: [] })
    expect(await mount.stop()).toBe(0)
  })

  test('control: one byte more in the source is found', { timeout: 60_000 }, async () => {
    await using mount = await StoreMount.start(namespace, await namespace.directory('control'), flags)
    appendFileSync(join(source, 'large'), 'x')
    expect((await check(mount, 20_000)).different).not.toEqual([])
  })
})
