import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/support/bytes.ts'
import { TREE_DEPTH_MAX, WALK_ENTRIES, WALK_NAMES_BYTES } from '../../../src/support/limits.ts'
import { FAILED, kindOfMode, type SourceRecords } from '../../../src/support/source-records.ts'
import { type SourceWalk, walkSource } from '../../../src/support/source-walk.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** What an entry is, as text: bytes in Latin-1. */
type Told = readonly [depth: number, name: string, kind: string, more: string]

async function walked(walk: SourceWalk): Promise<Told[]> {
  const found: Told[] = []
  let depth = 0
  for (let records = await walk.next(); records; records = await walk.next()) {
    expect(records.count).toBeLessThanOrEqual(WALK_ENTRIES)
    expect(records.names.length).toBeLessThanOrEqual(WALK_NAMES_BYTES)
    for (let i = 0; i < records.count; i++) {
      const kind = records.kind(i)
      if (kind === 'end') depth--
      else found.push([depth, records.name(i).toString('latin1'), kind, more(records, i)])
      if (kind === 'directory') depth++
    }
  }
  return found
}

function more(records: SourceRecords, i: number): string {
  const kind = records.kind(i)
  if (kind === 'symlink') return records.target(i).toString('latin1')
  if (kind === 'file') return stateText({ ...records.state(i), mode: BigInt(records.mode(i)) })
  return kind === 'failure' ? String(records.failure(i).what) : ''
}

function stateText(state: Record<'size' | 'ino' | 'dev' | 'nlink' | 'mtimeNs' | 'ctimeNs' | 'mode', bigint>) {
  const { size, ino, dev, nlink, mtimeNs, ctimeNs, mode } = state
  return [size, ino, dev, nlink, mtimeNs, ctimeNs, mode].join(' ')
}

/** The same by Node's own calls, one by one. */
function expected(path: Buffer, name = Buffer.alloc(0), depth = 0): Told[] {
  const state = lstatSync(path, { bigint: true })
  const kind = kindOfMode(Number(state.mode))
  const text = name.toString('latin1')
  if (kind === 'symlink')
    return [[depth, text, kind, readlinkSync(path, { encoding: 'buffer' }).toString('latin1')]]
  if (kind === 'file') return [[depth, text, kind, stateText(state)]]
  if (kind !== 'directory') return [[depth, text, kind, '']]
  const names = readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare)
  const below = names.flatMap((child) =>
    expected(Buffer.concat([path, Buffer.from('/'), child]), child, depth + 1),
  )
  return [[depth, text, kind, ''], ...below]
}

/** The failure that a walk ends with, after `change` happened when the first entries were there. */
async function failureAfter(walk: SourceWalk, change: () => void) {
  await walk.next()
  change()
  for (let records = await walk.next(); records; records = await walk.next()) {
    const last = records.count - 1
    if (records.kind(last) !== 'failure') continue
    expect(await walk.next()).toBeUndefined()
    return { ...records.failure(last), path: records.name(last).toString() }
  }
  return undefined
}

const ENOENT = 2
const EACCES = 13

describe.each([
  ['with the addon', true],
  ['without it', false],
])('a walk of a tree, %s,', (_title, isNative) => {
  const walk = (path: string | Buffer) => walkSource(typeof path === 'string' ? utf8(path) : path, isNative)

  it('tells all entries as they are, in the order of a NAR', async () => {
    await using dir = await tempDir()
    const name = (bytes: string) => Buffer.from(`${dir.path}/tree/${bytes}`, 'latin1')
    mkdirSync(join(dir.path, 'tree', 'a', 'deep', 'er'), { recursive: true })
    mkdirSync(join(dir.path, 'tree', 'empty'))
    // By bytes `a-` comes before what is in `a`, and `\xff` after all of UTF-8.
    for (const bytes of ['a-', 'a.b', 'B', '\xff\xfe', 'not utf-8 \x80', 'new\nline', 'z'.repeat(255)])
      writeFileSync(name(bytes), bytes)
    for (let i = 0; i < 700; i++) writeFileSync(name(`a/deep/${i}`), '')
    linkSync(name('B'), name('a/linked'))
    chmodSync(name('B'), 0o711)
    symlinkSync('/nowhere', name('a/link'))
    symlinkSync(Buffer.from('\xff'.repeat(4000), 'latin1'), name('long'))
    symlinkSync('loop', name('loop'))
    symlinkSync('..', name('a/up'))
    execFileSync('mkfifo', [join(dir.path, 'tree', 'pipe')])
    const found = await walked(walk(join(dir.path, 'tree')))
    expect(found).toEqual(expected(Buffer.from(join(dir.path, 'tree'))))
    expect(found.length).toBeGreaterThan(700)
  })

  it.each(['/usr/share/doc', 'node_modules/typescript'])('tells those of %s', async (path) => {
    expect(await walked(walk(path))).toEqual(expected(Buffer.from(path)))
  })

  it('takes a file, and a symlink, for a tree of one entry', async () => {
    await using dir = await tempDir()
    writeFileSync(join(dir.path, 'file'), 'contents')
    symlinkSync('file', join(dir.path, 'link'))
    expect(await walked(walk(join(dir.path, 'file')))).toMatchObject([[0, '', 'file', /^8 /]])
    expect(await walked(walk(join(dir.path, 'link')))).toEqual([[0, '', 'symlink', 'file']])
  })

  it('says what does not exist, and stops at what is too deep', async () => {
    await using dir = await tempDir()
    const missing = join(dir.path, 'missing')
    expect(await failureOf(walk(missing))).toEqual({ what: FAILED.stat, errno: ENOENT, path: missing })
    const deepest = join(dir.path, Array.from({ length: TREE_DEPTH_MAX }, () => 'd').join('/'))
    mkdirSync(deepest, { recursive: true })
    expect(await failureOf(walk(dir.path))).toMatchObject({ what: FAILED.depth, path: deepest })
    rmdirSync(deepest)
    expect(await failureOf(walk(dir.path))).toBeUndefined()
  })

  it('says what changed between listing and looking', async () => {
    await using dir = await tempDir()
    const fill = () => {
      mkdirSync(join(dir.path, 'z'), { recursive: true })
      for (let i = 0; i < 2 * WALK_ENTRIES; i++) writeFileSync(join(dir.path, `file-${1000 + i}`), '')
    }
    const last = join(dir.path, `file-${1000 + 2 * WALK_ENTRIES - 1}`)
    fill()
    const gone = await failureAfter(walk(dir.path), () => rmSync(last))
    expect(gone).toEqual({ what: FAILED.stat, errno: ENOENT, path: last })
    fill()
    const replaced = await failureAfter(walk(dir.path), () => {
      rmSync(last)
      mkdirSync(last)
    })
    expect(replaced).toMatchObject({ what: FAILED.changed, path: last })
    rmdirSync(last)
    fill()
    const folder = join(dir.path, 'z')
    const vanished = await failureAfter(walk(dir.path), () => rmdirSync(folder))
    expect(vanished).toMatchObject({ what: FAILED.list, path: folder })
    fill()
    const linked = await failureAfter(walk(dir.path), () => {
      renameSync(folder, `${dir.path}-moved`)
      symlinkSync(`${dir.path}-moved`, folder)
    })
    rmdirSync(`${dir.path}-moved`)
    expect(linked).toMatchObject({ what: FAILED.list, path: folder })
  })

  it('says which folder may not be read', async () => {
    await using dir = await tempDir()
    chmodSync(dir.path, 0o755)
    mkdirSync(join(dir.path, 'tree', 'closed'), { recursive: true })
    chmodSync(join(dir.path, 'tree', 'closed'), 0)
    expect(unprivileged(join(dir.path, 'tree'), isNative)).toEqual({
      what: FAILED.list,
      errno: EACCES,
      path: join(dir.path, 'tree', 'closed'),
    })
  })
})

it('goes through a directory of 100,000 entries, some at a time', async () => {
  await using dir = await tempDir()
  for (let i = 0; i < 100_000; i++) symlinkSync('t', join(dir.path, `entry-${i}`))
  const walk = walkSource(utf8(dir.path))
  let count = 0
  let countMax = 0
  let bytesMax = 0
  let last = ''
  for (let records = await walk.next(); records; records = await walk.next()) {
    count += records.count
    countMax = Math.max(countMax, records.count)
    bytesMax = Math.max(bytesMax, records.names.length)
    last = records.name(Math.max(0, records.count - 2)).toString()
  }
  // With the directory itself, and its end.
  expect(count).toBe(100_002)
  expect(countMax).toBeLessThanOrEqual(WALK_ENTRIES)
  expect(bytesMax).toBeLessThanOrEqual(WALK_NAMES_BYTES)
  expect(last).toBe('entry-99999')
}, 120_000)

async function failureOf(walk: SourceWalk) {
  let failure: { what: number; errno: number; path: string } | undefined
  for (let records = await walk.next(); records; records = await walk.next())
    for (let i = 0; i < records.count; i++)
      if (records.kind(i) === 'failure') failure = { ...records.failure(i), path: records.name(i).toString() }
  return failure
}

/** As somebody whom modes apply to; root may read everything. */
function unprivileged(path: string, isNative: boolean): unknown {
  const module = new URL('../../../src/support/source-walk.ts', import.meta.url)
  const script = `
    const { walkSource } = await import('${module}')
    const walk = walkSource(Buffer.from(process.argv[1]), ${isNative})
    for (let records = await walk.next(); records; records = await walk.next())
      for (let i = 0; i < records.count; i++)
        if (records.kind(i) === 'failure')
          console.log(JSON.stringify({ ...records.failure(i), path: records.name(i).toString() }))`
  const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const args = ['--input-type=module', '-e', script, path]
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8', ...user }))
}
