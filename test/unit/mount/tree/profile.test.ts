import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AccessRecorder } from '../../../../src/mount/tree/access-recorder.ts'
import {
  nameWithoutVersion,
  type ProfileEntry,
  parseProfile,
  printProfile,
} from '../../../../src/mount/tree/profile.ts'
import { utf8 } from '../../../../src/support/bytes.ts'
import { FakeStore, list, readAll, walk } from '../../../support/trees.ts'

const HASH = '0123456789abcdfghijklmnpqrsvwxyz'
const OTHER_HASH = 'zyxwvsrqpnmlkjihgfdcba9876543210'

/** A store path of a version, with a file that is touched and one that is not. */
function storeWith(hash: string, version: string): FakeStore {
  const store = new FakeStore()
  const bin = store.directory({ tool: store.file(`tool ${version}`), other: store.file(`other ${version}`) })
  const lib = store.directory({ 'lib.so': store.file(`library ${version}`) })
  store.rootNodes.add(`${hash}-hello-${version}`, store.directory({ bin, lib }))
  return store
}

async function recordStartup(store: FakeStore, name: string): Promise<readonly ProfileEntry[]> {
  const recorder = new AccessRecorder()
  const tree = store.tree({ recorder })
  await readAll(tree, (await walk(tree, `${name}/lib/lib.so`)).inode, 0, 100)
  await readAll(tree, (await walk(tree, `${name}/bin/tool`)).inode, 0, 4)
  await readAll(tree, (await walk(tree, `${name}/bin/tool`)).inode, 4, 100)
  return recorder.entries
}

describe('a profile', () => {
  test('tells what was listed and read, each once, in order', async () => {
    const name = `${HASH}-hello-1.0`
    expect(printProfile(await recordStartup(storeWith(HASH, '1.0'), name))).toBe(
      [
        'tvix-store profile 1',
        `list ${name}`,
        `list ${name}/lib`,
        `read 0-11 ${name}/lib/lib.so`,
        `list ${name}/bin`,
        `read 0-8 ${name}/bin/tool`,
        '',
      ].join('\n'),
    )
  })

  test('is read as it was written, whatever the names', () => {
    const name = fc.uint8Array({ minLength: 1, maxLength: 20 }).filter((bytes) => !bytes.includes(0x2f))
    const range = fc.record({ start: fc.nat(1000), length: fc.integer({ min: 1, max: 1000 }) })
    const entry = fc.record({ path: fc.array(name, { minLength: 1, maxLength: 5 }), range: fc.option(range) })
    fc.assert(
      fc.property(fc.array(entry), (made) => {
        const entries = made.map(({ path, range }) =>
          range ? { path, range: { start: range.start, end: range.start + range.length } } : { path },
        )
        const read = parseProfile(printProfile(entries), 'test')
        expect(read.map(plain)).toEqual(entries.map(plain))
      }),
    )
  })

  test.each([
    ['', 'does not begin with'],
    ['tvix-store profile 2\n', 'does not begin with'],
    ['tvix-store profile 1\nwrite a\n', 'line 2'],
    ['tvix-store profile 1\nlist a\nread 5-5 a/b\n', 'line 3: 5-5 is no range'],
    ['tvix-store profile 1\nread 0-9007199254740992 a/b\n', 'is no range'],
    ['tvix-store profile 1\nlist a//b\n', 'line 2: the path is malformed'],
    ['tvix-store profile 1\nlist a%2\n', 'line 2: the path is malformed'],
  ])('%j is refused', (text, why) => {
    expect(() => parseProfile(text, 'test')).toThrow(why)
  })
})

function plain({ path, range }: ProfileEntry) {
  return { path: path.map((name) => Buffer.from(name).toString('hex')), range }
}

test.each([
  ['hello-2.12', 'hello'],
  ['gcc-13.2.0-lib', 'gcc-lib'],
  ['python3', 'python3'],
  ['linux-headers-6.1', 'linux-headers'],
])('versions of %s share the name %s', (name, shared) => {
  expect(nameWithoutVersion(utf8(`${HASH}-${name}`))).toBe(shared)
})

describe('fetching ahead', () => {
  const profile = recordStartup(storeWith(HASH, '1.0'), `${HASH}-hello-1.0`)

  test('brings the contents that the profile tells of, and no other, before they are asked for', async () => {
    const store = storeWith(HASH, '1.0')
    const tree = store.tree({ profile: await profile })
    await expect.poll(() => store.blobs.readBytes).toBe('tool 1.0library 1.0'.length)
    // The directories of a path come in one call.
    expect([store.directories.requests, store.directories.recursiveRequests]).toEqual([0, 1])
    expect(store.blobs.readRequests).toBe(2)
    const asked = { ...store.blobs }
    await readAll(tree, (await walk(tree, `${HASH}-hello-1.0/bin/tool`)).inode, 0, 100)
    await list(tree, (await walk(tree, `${HASH}-hello-1.0/lib`)).inode, 10)
    expect(store.blobs.readRequests).toBe(asked.readRequests)
    expect(store.directories.requests).toBe(0)
  })

  test('of another version begins when that is looked up', async () => {
    const store = storeWith(OTHER_HASH, '2.0')
    const tree = store.tree({ profile: await profile })
    // The recorded path is asked for, and is not there.
    await expect.poll(() => store.rootNodes.requests).toBe(1)
    expect(store.blobs.readRequests).toBe(0)
    await walk(tree, `${OTHER_HASH}-hello-2.0`)
    await expect.poll(() => store.blobs.readBytes).toBe('tool 2.0library 2.0'.length)
  })

  test('brings no more bytes than it may', async () => {
    const store = storeWith(HASH, '1.0')
    store.tree({ profile: await profile, limits: { profileBytesMax: 1 } })
    await expect.poll(() => store.directories.recursiveRequests).toBe(1)
    await expect.poll(() => store.blobs.readRequests).toBe(1)
  })

  test('a profile that fits nothing any more is no failure', async () => {
    const store = new FakeStore()
    store.rootNodes.add(`${HASH}-hello-1.0`, store.file('a file now'))
    const tree = store.tree({ profile: await profile })
    await expect.poll(() => store.rootNodes.requests).toBe(1)
    expect((await readAll(tree, (await walk(tree, `${HASH}-hello-1.0`)).inode, 0, 100)).toString()).toBe(
      'a file now',
    )
  })
})
