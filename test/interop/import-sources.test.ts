/** `tvix-store import` and `castore ingest` of trees as they are found: mounted, closed, deep, and with more than files in them. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, chmod, mkdir, rename, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TREE_DEPTH_MAX } from '../../src/support/limits.ts'
import { importedPath, localStoreFlags, run, runOk, TVIX_STORE, until } from '../support/cli.ts'
import { MountNamespace, whyNoMounts } from '../support/mount.ts'
import { HAS_NIX, IS_ROOT } from '../support/requirements.ts'
import { makeSourceTree } from '../support/source-tree.ts'
import { tempDir } from '../support/temp-dir.ts'

const NOBODY = '65534'

let folder: Awaited<ReturnType<typeof tempDir>>
let flags: string[]

beforeAll(async () => {
  folder = await tempDir()
  await chmod(folder.path, 0o755)
  flags = localStoreFlags(join(folder.path, 'store'))
})
afterAll(() => folder[Symbol.asyncDispose]())

async function newTree(name: string): Promise<string> {
  const path = join(folder.path, name, 'tree')
  await mkdir(path, { recursive: true })
  return path
}

type Make = (path: string) => Promise<unknown>

const SPECIAL: [string, Make][] = [
  ['fifo', (path) => runOk('mkfifo', [path])],
  ['socket', leaveSocket],
]
if (IS_ROOT)
  SPECIAL.push(
    ['character device', (path) => runOk('mknod', [path, 'c', '1', '3'])],
    ['block device', (path) => runOk('mknod', [path, 'b', '7', '0'])],
  )

describe.each(['import', 'castore ingest'])('%s refuses', (command) => {
  const words = command.split(' ')
  const refused = (path: string) => run(TVIX_STORE, [...words, ...flags, path])

  test.each(SPECIAL)('a %s, by its path and what it is', async (kind, make) => {
    const tree = await newTree(`${words.length}-${kind.replace(' ', '-')}`)
    await writeFile(join(tree, 'file'), 'a file before it')
    await make(join(tree, 'odd one'))
    const { code, stdout, stderr } = await refused(tree)
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toContain(`unsupported file type at ${tree}/odd one: ${kind}`)
  })

  test('what is nested deeper than stores go, and takes what is as deep as that', async () => {
    const tree = await newTree(`${words.length}-deep`)
    // The tree is one of them.
    const deepest = join(tree, ...Array.from({ length: TREE_DEPTH_MAX - 1 }, () => 'd'))
    await mkdir(deepest, { recursive: true })
    await writeFile(join(deepest, 'file'), 'at the bottom')
    expect((await refused(tree)).code).toBe(0)
    await mkdir(join(deepest, 'd'))
    const { code, stderr } = await refused(tree)
    expect(code).toBe(75)
    expect(stderr).toContain(`/d/d is nested deeper than ${TREE_DEPTH_MAX} directories`)
  })

  test('a path that is longer than the system opens, by name', async () => {
    const tree = await newTree(`${words.length}-long`)
    const name = 'n'.repeat(250)
    const folderOf = (count: number) => join(tree, ...Array.from({ length: count }, () => name))
    await mkdir(folderOf(10), { recursive: true })
    await mkdir(join(folder.path, `${words.length}-part`, ...Array.from({ length: 8 }, () => name)), {
      recursive: true,
    })
    await rename(join(folder.path, `${words.length}-part`), join(folderOf(10), 'part'))
    const { code, stderr } = await refused(tree)
    // Where it can be removed.
    await rename(join(folderOf(10), 'part'), join(folder.path, `${words.length}-part`))
    expect(code).toBe(64)
    expect(stderr).toMatch(/unable to (stat|list) .*n\/part\/n.*ENAMETOOLONG/)
  })

  describe.skipIf(!IS_ROOT)(`for somebody who may not read${IS_ROOT ? '' : ' (skipped: not root)'}`, () => {
    test.each([
      ['a folder', 'closed', 'list', (path: string) => mkdir(path, { mode: 0 })],
      ['a file', 'closed', 'open', (path: string) => writeFile(path, 'contents', { mode: 0 })],
    ] as const)('%s, by name', async (title, name, doing, make) => {
      const tree = await newTree(`${words.length}-${title.replace(' ', '-')}`)
      await make(join(tree, name))
      const own = join(folder.path, `${words.length}-${title.replace(' ', '-')}`, 'store')
      await mkdir(own)
      await chmod(own, 0o777)
      const args = [TVIX_STORE, ...words, ...localStoreFlags(own), tree]
      const { code, stderr } = await run(
        'setpriv',
        ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', ...args],
        {
          XDG_CACHE_HOME: join(own, 'cache'),
        },
      )
      expect(code).toBe(77)
      expect(stderr).toMatch(new RegExp(`unable to ${doing} ${tree}/${name}: EACCES`))
    })
  })
})

/** A socket that nobody listens on any more stays where it was. */
async function leaveSocket(path: string): Promise<void> {
  const server = createServer().listen(`${path}.bound`)
  await once(server, 'listening')
  await rename(`${path}.bound`, path)
  server.close()
}

const whyNot = whyNoMounts()

describe.skipIf(whyNot)(`where something is mounted${whyNot ? ` (skipped: ${whyNot})` : ''}`, () => {
  test('a tree goes on below, as if it were copied', async () => {
    const plain = join(folder.path, 'plain', 'tree')
    const mounted = join(folder.path, 'mounted', 'tree')
    await mkdir(join(folder.path, 'mounted'))
    for (const path of [plain, mounted]) makeSourceTree(path)
    makeSourceTree(join(plain, 'empty', 'inner'))
    await using namespace = await MountNamespace.create()
    const mount = ['mount', '-t', 'tmpfs', 'test', join(mounted, 'empty')] as const
    expect(await namespace.run(...mount)).toMatchObject({ status: 0 })
    const copy = ['cp', '-a', join(plain, 'empty', 'inner'), join(mounted, 'empty')] as const
    expect(await namespace.run(...copy)).toMatchObject({ status: 0 })
    const inside = await namespace.run(TVIX_STORE, 'import', ...flags, mounted)
    expect(inside.stdout).toBe(await runOk(TVIX_STORE, ['import', ...flags, plain]))
    // Where nothing is mounted it is another tree.
    expect(await runOk(TVIX_STORE, ['import', ...flags, mounted])).not.toBe(inside.stdout)
  })
})

test.skipIf(!HAS_NIX)(
  'names of any bytes and of any length that Linux has: the NAR is that of nix-store',
  async () => {
    const tree = await newTree('names')
    const inside = (...bytes: number[]) => Buffer.concat([Buffer.from(`${tree}/`), Buffer.from(bytes)])
    for (let byte = 1; byte < 256; byte++)
      if (byte !== 0x2f && byte !== 0x2e) await writeFile(inside(byte), `name ${byte}`)
    await writeFile(inside(...new Array<number>(255).fill(0xff)), 'longest')
    await mkdir(inside(0x2e, 0x2e, 0x2e))
    await symlink(Buffer.from('\xfe'.repeat(4095), 'latin1'), inside(0x80, 0x80))
    const storePath = await importedPath(flags, tree)
    const nar = join(folder.path, 'names', 'nar')
    await runOk(TVIX_STORE, ['export-nar', ...flags, '-o', nar, storePath])
    const expected = join(folder.path, 'names', 'expected')
    await runOk('sh', ['-c', `nix-store --dump "$0" > "$1"`, tree, expected])
    await runOk('cmp', [nar, expected])
  },
)

/** Tells which files in a folder are opened while it runs, by inotify: an access time would not tell of the second time. */
const WATCH = `
import ctypes, json, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
IN_OPEN, IN_ISDIR = 0x20, 0x40000000
fd = libc.inotify_init1(0)
assert libc.inotify_add_watch(fd, sys.argv[1].encode(), IN_OPEN) >= 0
print('ready', flush=True)
sys.stdin.read()
os.set_blocking(fd, False)
opened = set()
try:
    while True:
        data = os.read(fd, 1 << 20)
        while data:
            _, mask, _, length = struct.unpack_from('iIII', data)
            if not mask & IN_ISDIR:
                opened.add(data[16:16 + length].rstrip(b'\\0').decode())
            data = data[16 + length:]
except BlockingIOError:
    pass
print(json.dumps(sorted(opened)))`

async function openedDuring(path: string, work: () => Promise<unknown>): Promise<string[]> {
  const watcher = spawn('python3', ['-c', WATCH, path], { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: watcher.stdout })[Symbol.asyncIterator]()
  expect(await lines.next()).toMatchObject({ value: 'ready' })
  await work()
  watcher.stdin.end()
  return JSON.parse((await lines.next()).value!)
}

describe('the import of a tree that another process has imported', () => {
  const NAMES = Array.from({ length: 20 }, (_, i) => `file-${10 + i}`)

  async function importing(tree: string, cache: string): Promise<string[]> {
    return await openedDuring(tree, () =>
      runOk(TVIX_STORE, ['import', ...flags, tree], { XDG_CACHE_HOME: join(folder.path, 'reuse', cache) }),
    )
  }

  test('opens no file that is as it was', async () => {
    const tree = await newTree('reuse')
    for (const name of NAMES) await writeFile(join(tree, name), `contents of ${name}`)
    expect(await importing(tree, 'cache')).toEqual(NAMES)
    // What changed a moment before it was read is read once more.
    await until(async () => (await importing(tree, 'cache')).length === 0)
    await appendFile(join(tree, NAMES[3]!), ' and more')
    expect(await importing(tree, 'cache')).toContain(NAMES[3])
    // Without what it remembered it reads all of them.
    expect(await importing(tree, 'another-cache')).toEqual(NAMES)
  })
})

test('a tree that changes all the time is imported whole, or refused in a line that names what changed', async () => {
  const tree = await newTree('changing')
  for (let i = 0; i < 600; i++) await writeFile(join(tree, `file-${i}`), `contents ${i}`.repeat(200))
  const churn = `i=0; while :; do i=$(( (i + 7) % 600 )); rm -f "$0/file-$i"; echo "new $i" > "$0/file-$i"; done`
  const changer = spawn('sh', ['-c', churn, tree], { stdio: 'ignore' })
  try {
    for (let round = 0; round < 6; round++) {
      const cache = { XDG_CACHE_HOME: join(folder.path, 'changing') }
      const { code, stdout, stderr } = await run(TVIX_STORE, ['import', ...flags, tree], cache)
      if (code === 0) await runOk(TVIX_STORE, ['export-nar', ...flags, '-o', '/dev/null', stdout.trim()])
      else {
        expect([66, 73]).toContain(code)
        expect(stderr).toMatch(new RegExp(`${tree}/file-\\d+( changed while it was read|: ENOENT)`))
        expect(stdout).toBe('')
      }
    }
  } finally {
    changer.kill('SIGKILL')
  }
})
