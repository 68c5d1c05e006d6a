import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { openLmdbDirectoryService } from '../../../src/services/directories/lmdb.ts'
import { openLmdbTable } from '../../../src/services/lmdb-table.ts'
import { openLmdbPathInfoService } from '../../../src/services/pathinfos/lmdb.ts'
import { utf8 } from '../../../src/support/bytes.ts'
import { collect } from '../../support/collect.ts'
import { vectorDirectory } from '../../support/directories.ts'
import { makePathInfo } from '../../support/path-infos.ts'
import { CAN_MOUNT } from '../../support/requirements.ts'
import { tempDir } from '../../support/temp-dir.ts'

const run = promisify(execFile)
const KEY = Buffer.alloc(32, 1)
const TABLE_MODULE = join(import.meta.dirname, '../../../src/services/lmdb-table.ts')

/** Runs a module in a process of its own, with the table module as `table` and the file's path as `path`. */
async function elsewhere(path: string, body: string, shell = '', within: string[] = []): Promise<string> {
  const code = `import { openLmdbTable } from ${JSON.stringify(TABLE_MODULE)}
    const path = ${JSON.stringify(path)}
    ${body}`
  const script = `${shell} exec "$0" --input-type=module-typescript -e "$1"`
  const [program = '', ...args] = [...within, '/bin/sh', '-c', script, process.execPath, code]
  const { stdout } = await run(program, args)
  return stdout
}

describe('an LMDB table', () => {
  it('creates the folders of its file', async () => {
    await using dir = await tempDir()
    await using table = await openLmdbTable(join(dir.path, 'a/b/c.lmdb'), 'test')
    expect(table.get(KEY)).toBeUndefined()
  })

  it.skipIf(!CAN_MOUNT)(
    'is an error on a full disk, where LMDB by itself would kill the process',
    async () => {
      await using dir = await tempDir()
      const path = join(dir.path, 'full/x.lmdb')
      const full = `mkdir ${dir.path}/full; mount -t tmpfs -o size=64k none ${dir.path}/full; head -c 65536 /dev/zero > ${dir.path}/full/fill;`
      const body = `
      import { unlinkSync, readdirSync } from 'node:fs'
      const error = await openLmdbTable(path, 'test').catch((error) => error)
      console.log(error.code, error.message.includes('free some space'), readdirSync(${JSON.stringify(`${dir.path}/full`)}).join())
      unlinkSync(${JSON.stringify(`${dir.path}/full/fill`)})
      await using table = await openLmdbTable(path, 'test')
      console.log('opened')`
      expect(await elsewhere(path, body, full, ['unshare', '-m'])).toBe('exhausted true fill\nopened\n')
    },
  )

  it.skipIf(!CAN_MOUNT)('is read where it lies on a read-only file system, and not written to', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'ro/x.lmdb')
    const shell = `mkdir ${dir.path}/ro; mount -t tmpfs none ${dir.path}/ro;`
    const body = `
      import { execFileSync } from 'node:child_process'
      const key = Buffer.alloc(32)
      { await using table = await openLmdbTable(path, 'test'); await table.put([{ key, value: Buffer.from('kept') }]) }
      execFileSync('mount', ['-o', 'remount,ro', ${JSON.stringify(`${dir.path}/ro`)}])
      await using table = await openLmdbTable(path, 'test')
      console.log(Buffer.from(table.get(key)).toString(), table.page(undefined, 9).length)
      const refused = await table.put([{ key, value: key }]).catch((error) => error)
      console.log(refused.code, refused.message.includes('mounted read-only'))
      console.log((await openLmdbTable(path, 'another').catch((error) => error)).code)`
    expect(await elsewhere(path, body, shell, ['unshare', '-m'])).toBe('kept 1\nprecondition true\ndenied\n')
  })

  it('has after reopening what was put before', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'x.lmdb')
    {
      await using table = await openLmdbTable(path, 'test')
      await table.put([{ key: KEY, value: utf8('kept') }])
    }
    await using table = await openLmdbTable(path, 'test')
    expect(Buffer.from(table.get(KEY)!).toString()).toBe('kept')
  })

  it('keeps the tables of one file apart', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'both.lmdb')
    await using directories = await openLmdbDirectoryService(path)
    await using pathInfos = await openLmdbPathInfoService(path)
    await directories.put(vectorDirectory('WITH_KEEP'))
    await pathInfos.put(makePathInfo('one'))
    expect(await collect(pathInfos.list())).toHaveLength(1)
    expect(await directories.get(vectorDirectory('WITH_KEEP').digest)).toBeDefined()
  })

  it('shows and takes what other processes store at the same time', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'shared.lmdb')
    await using table = await openLmdbTable(path, 'test')
    await table.put([{ key: KEY, value: utf8('ours') }])
    const seen = await elsewhere(
      path,
      `const table = await openLmdbTable(path, 'test')
      process.stdout.write(String(table.get(Buffer.alloc(32, 1))))
      await table.put([{ key: Buffer.alloc(32, 2), value: Buffer.from('theirs') }])
      await table[Symbol.asyncDispose]()`,
    )
    expect(seen).toBe('ours')
    expect(Buffer.from(table.get(Buffer.alloc(32, 2))!).toString()).toBe('theirs')
  })

  it('keeps what was put by a process that was killed right after', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'killed.lmdb')
    const killed = elsewhere(
      path,
      `const table = await openLmdbTable(path, 'test')
      await table.put([{ key: Buffer.alloc(32, 1), value: Buffer.from('kept') }])
      process.kill(process.pid, 'SIGKILL')`,
    )
    await expect(killed).rejects.toMatchObject({ signal: 'SIGKILL' })
    await using table = await openLmdbTable(path, 'test')
    expect(Buffer.from(table.get(KEY)!).toString()).toBe('kept')
  })

  it('stores all or nothing when the disk is full, says so, and goes on', async () => {
    await using dir = await tempDir()
    // The limit on file sizes stands in for the full disk. An unhandled rejection would end the process.
    const told = await elsewhere(
      join(dir.path, 'full.lmdb'),
      `process.on('SIGXFSZ', () => {})
      const table = await openLmdbTable(path, 'test')
      const entries = Array.from({ length: 100 }, (_, i) => ({ key: Buffer.alloc(32, i + 1), value: Buffer.alloc(100_000) }))
      const failed = await table.put(entries).then(() => 'stored', (error) => error.code)
      await table.put([{ key: Buffer.alloc(32, 200), value: Buffer.from('small') }])
      process.stdout.write(failed + ' ' + table.page(undefined, 1000).length)
      await table[Symbol.asyncDispose]()`,
      'ulimit -f 2000;',
    )
    expect(told).toBe('unavailable 1')
  })

  it('names path, reason and next step when it cannot be opened', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'file')
    await writeFile(file, 'a file, not a folder')
    await expect(openLmdbTable(join(file, 'x.lmdb'), 'test')).rejects.toThrow(
      /cannot open the database .*\/file\/x\.lmdb: .*; check that/,
    )
  })

  it.each([
    ['a long one', 'garbage'.repeat(2_000)],
    ['a short one', 'x'],
  ])('refuses a file of another kind, %s, and leaves it as it is', async (_, contents) => {
    await using dir = await tempDir()
    const file = join(dir.path, 'directories.redb')
    await writeFile(file, contents)
    await expect(openLmdbTable(file, 'test')).rejects.toMatchObject({
      code: 'precondition',
      message: expect.stringContaining(`${file} is no LMDB file`),
    })
    expect(await readFile(file, 'utf8')).toBe(contents)
  })

  it('refuses a file whose end was lost, for which LMDB would kill the process', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'whole.lmdb')
    {
      await using table = await openLmdbTable(file, 'test')
      await table.put([{ key: KEY, value: Buffer.alloc(100) }])
    }
    const whole = await readFile(file)
    const cut = join(dir.path, 'cut.lmdb')
    for (let bytes = 4096; bytes < whole.length; bytes += 4096) {
      await writeFile(cut, whole.subarray(0, bytes))
      await expect(openLmdbTable(cut, 'test')).rejects.toMatchObject({
        code: 'corrupt',
        message: expect.stringContaining(`${cut} is cut off after ${bytes} bytes: put back a whole copy`),
      })
    }
  })

  it('takes an empty file for a new database', async () => {
    await using dir = await tempDir()
    const file = join(dir.path, 'new.lmdb')
    await writeFile(file, '')
    await using table = await openLmdbTable(file, 'test')
    await table.put([{ key: KEY, value: utf8('kept') }])
    expect(table.page(undefined, 10)).toHaveLength(1)
  })
})

describe('corrupt entries', () => {
  it('are told from absent ones', async () => {
    await using dir = await tempDir()
    const path = join(dir.path, 'rotten.lmdb')
    const digest = vectorDirectory('D').digest
    const { storePath } = makePathInfo('one')
    await using directoryTable = await openLmdbTable(path, 'directory')
    await directoryTable.put([{ key: digest.bytes, value: utf8('rot') }])
    await using pathInfoTable = await openLmdbTable(path, 'pathinfo')
    await pathInfoTable.put([{ key: storePath.digest, value: utf8('rot') }])
    await using directories = await openLmdbDirectoryService(path)
    const leftOut: unknown[] = []
    await using pathInfos = await openLmdbPathInfoService(path, (count, first) =>
      leftOut.push({ count, first }),
    )
    const corrupt = { code: 'corrupt', message: expect.stringContaining(path) }
    await expect(directories.get(digest)).rejects.toMatchObject(corrupt)
    await expect(collect(directories.getRecursive(digest))).rejects.toMatchObject(corrupt)
    await expect(pathInfos.get(storePath.digest)).rejects.toMatchObject(corrupt)
    expect(await collect(pathInfos.list())).toEqual([])
    expect(leftOut).toMatchObject([{ count: 1, first: corrupt }])
  })
})
