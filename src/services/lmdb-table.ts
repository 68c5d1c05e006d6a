import { randomUUID } from 'node:crypto'
import {
  accessSync,
  closeSync,
  existsSync,
  fstatSync,
  linkSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { type Database, open, type RootDatabase } from 'lmdb'
import { type ErrorCode, StoreError, systemCode } from '../support/errors.ts'
import { createFolders } from '../support/folders.ts'

/**
 * One table of an LMDB file: bytes under keys that are bytes. Writes are durable when they resolve (fsync is part
 * of the commit). Several processes may have the file open at once; each read sees a whole commit or nothing.
 */
export interface LmdbTable extends AsyncDisposable {
  /** For messages: the address without parameters. */
  readonly name: string
  get(key: Uint8Array): Uint8Array | undefined
  /** As `get`, in memory that the next call of it uses again. */
  find(key: Uint8Array): Buffer | undefined
  /** All in one transaction: a crash leaves all or none. The bytes must not change until it resolves. */
  put(entries: readonly LmdbEntry[]): Promise<void>
  /** All in one transaction; keys that are not there do not matter. */
  remove(keys: readonly Uint8Array[]): Promise<void>
  /**
   * Up to `limit` entries in key order, after `previous`, or else with `from` or from the start. Holds no transaction
   * afterwards.
   */
  page(previous: Uint8Array | undefined, limit: number, from?: Uint8Array): LmdbEntry[]
  count(): number
}

export interface LmdbEntry {
  readonly key: Uint8Array
  readonly value: Uint8Array
}

const BINARY = { encoding: 'binary', keyEncoding: 'binary' } as const

/**
 * Opens a table of the file at `path`, creating it and its folders. The same file may hold several tables. What is there of a
 * file system that is mounted read-only can be read, and writing to it is `precondition`.
 */
export async function openLmdbTable(path: string, table: string): Promise<LmdbTable> {
  try {
    if (!existsSync(dirname(path))) await createFolders(dirname(path))
    refuseForeignFile(path)
    reserveLocks(path)
    const root: RootDatabase<Buffer, Uint8Array> = open({
      path,
      noSubdir: true,
      // Otherwise a put would resolve before it is on disk.
      overlappingSync: false,
      // With it the package makes promises of its own that nobody can catch when a commit fails: on a full disk
      // the process would die of an unhandled rejection.
      eventTurnBatching: false,
      ...BINARY,
    })
    const database = root.openDB<Buffer, Uint8Array>(table, BINARY)
    return new OpenLmdbTable(`lmdb://${path}`, root, database)
  } catch (error) {
    const readable = isReadOnlyFault(error) ? await readLmdbTable(path, table) : undefined
    if (readable) return readable
    throw openFailure(path, error)
  }
}

/** To look at, also while another process writes to it. `undefined` when the file or the table is not there. */
export async function readLmdbTable(path: string, table: string): Promise<LmdbTable | undefined> {
  try {
    accessSync(path)
    refuseForeignFile(path)
    const root: RootDatabase<Buffer, Uint8Array> = open({ path, noSubdir: true, readOnly: true, ...BINARY })
    // What the package says of a table that is not there, against its types.
    const database = root.openDB<Buffer, Uint8Array>(table, BINARY) as
      | Database<Buffer, Uint8Array>
      | undefined
    if (database) return new OpenLmdbTable(`lmdb://${path}`, root, database, true)
    await root.close()
    return undefined
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw openFailure(path, error)
  }
}

/** Where the first page has the number by which LMDB knows its files, and that number. */
const MAGIC_OFFSET = 24
const MAGIC = 0xbeefc0de
/** Where it has the size of pages, and the two first pages each what is true of the last transaction or the one before. */
const PAGE_BYTES_OFFSET = 48
const ROOT_OFFSETS = [88, 136]
const TRANSACTION_OFFSET = 152
const META_BYTES = 160

/**
 * LMDB maps whatever it is given; on another kind of file (a redb one, say), or one whose end was lost, it kills the process. All of this
 * is done on the spot, as LMDB opens the file: trips to the thread pool were most of the time that it took.
 */
function refuseForeignFile(path: string): void {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  try {
    const { size } = fstatSync(fd)
    if (size === 0) return
    const first = readMeta(fd, 0)
    if (first?.readUInt32LE(MAGIC_OFFSET) !== MAGIC)
      throw new StoreError(
        'precondition',
        `${path} is no LMDB file; name another file, or move this one away`,
      )
    if (!reachesItsRoots(fd, first, size))
      throw new StoreError(
        'corrupt',
        `${path} is cut off after ${size} bytes: put back a whole copy, or move it away to begin with an empty one`,
      )
  } finally {
    closeSync(fd)
  }
}

/** `undefined` beyond the end. */
function readMeta(fd: number, position: number): Buffer | undefined {
  const meta = Buffer.alloc(META_BYTES)
  return readSync(fd, meta, { position }) === META_BYTES ? meta : undefined
}

/** Only the roots: what LMDB gave back at once need never have been written, so a whole file may be shorter than it says. */
function reachesItsRoots(fd: number, first: Buffer, size: number): boolean {
  const pageBytes = first.readUInt32LE(PAGE_BYTES_OFFSET)
  const second = readMeta(fd, pageBytes)
  if (!second || size < 2 * pageBytes) return false
  const isFirstNewer = first.readBigUInt64LE(TRANSACTION_OFFSET) > second.readBigUInt64LE(TRANSACTION_OFFSET)
  const newest = isFirstNewer ? first : second
  const pages = BigInt(Math.floor(size / pageBytes))
  // The root of what is empty is -1.
  return ROOT_OFFSETS.every((offset) => newest.readBigInt64LE(offset) < pages)
}

/** Room for 126 readers, as LMDB makes it by itself, in whole pages. */
const LOCKS_BYTES = 3 * 4096

/**
 * LMDB maps a file of locks that it makes as a hole: on a full disk, touching it kills the process. Written before, it is an error
 * like any other.
 */
function reserveLocks(path: string): void {
  const locks = `${path}-lock`
  if (existsSync(locks)) return
  // Whole under its name: another process may be using it by the time it is written.
  const temp = `${locks}.${randomUUID()}`
  try {
    writeFileSync(temp, new Uint8Array(LOCKS_BYTES), { flag: 'wx', mode: 0o664 })
    linkSync(temp, locks)
  } catch (error) {
    // Some file systems have no links; LMDB then does what it does.
    if (!['EEXIST', 'EPERM', 'ENOTSUP'].includes(systemCode(error) ?? '')) throw error
  } finally {
    rmSync(temp, { force: true })
  }
}

class OpenLmdbTable implements LmdbTable {
  readonly name: string
  readonly #root: RootDatabase<Buffer, Uint8Array>
  readonly #database: Database<Buffer, Uint8Array>
  readonly #isReadOnly: boolean

  constructor(
    name: string,
    root: RootDatabase<Buffer, Uint8Array>,
    database: Database<Buffer, Uint8Array>,
    isReadOnly = false,
  ) {
    this.name = name
    this.#root = root
    this.#database = database
    this.#isReadOnly = isReadOnly
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#guard('read', () => this.#database.getBinary(key as Buffer))
  }

  async put(entries: readonly LmdbEntry[]): Promise<void> {
    this.#checkWritable()
    try {
      // One batch is one conditional block of one transaction. (`transaction` would call back into JavaScript
      // from the writer thread, which never happens on some systems.)
      await this.#database.batch(() => {
        for (const { key, value } of entries) this.#database.put(key as Buffer, value as Buffer)
      })
    } catch (error) {
      throw this.#failure('write', await commitError(error))
    }
  }

  async remove(keys: readonly Uint8Array[]): Promise<void> {
    this.#checkWritable()
    try {
      await this.#database.batch(() => {
        for (const key of keys) this.#database.remove(key as Buffer)
      })
    } catch (error) {
      throw this.#failure('write', await commitError(error))
    }
  }

  find(key: Uint8Array): Buffer | undefined {
    return this.#guard('read', () => this.#database.getBinaryFast(key as Buffer))
  }

  page(previous: Uint8Array | undefined, limit: number, from?: Uint8Array): LmdbEntry[] {
    const start = previous
      ? { start: previous as Buffer, exclusiveStart: true }
      : from && { start: from as Buffer }
    return this.#guard('list', () =>
      Array.from(this.#database.getRange({ ...start, limit }), ({ key, value }) => ({ key, value })),
    )
  }

  count(): number {
    return this.#guard('count', () => this.#database.getCount())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#root.close()
  }

  #checkWritable(): void {
    if (this.#isReadOnly)
      throw new StoreError('precondition', `${this.name}: the file system is mounted read-only (EROFS)`)
  }

  #guard<T>(doing: string, work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw this.#failure(doing, error)
    }
  }

  #failure(doing: string, error: unknown): StoreError {
    return new StoreError('unavailable', `${this.name}: cannot ${doing}: ${reason(error)}`, { cause: error })
  }
}

/** The package tells why a commit failed in a promise beside the error, rejected by now. */
async function commitError(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<unknown> }
  if (!commitError) return error
  return Promise.race([commitError, Promise.resolve(error)]).catch((why: unknown) => why)
}

// As Node names them, and as the bare numbers that the package gives.
const DENIED = [
  'EACCES',
  'EPERM',
  'EROFS',
  constants.errno.EACCES,
  constants.errno.EPERM,
  constants.errno.EROFS,
]

function isReadOnlyFault(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return code === 'EROFS' || code === constants.errno.EROFS
}

const FULL = ['ENOSPC', 'EDQUOT', constants.errno.ENOSPC, constants.errno.EDQUOT]

function openFailure(path: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const code = systemCode(error) ?? (error as { code?: unknown }).code
  const told = (kind: ErrorCode, next: string) =>
    new StoreError(kind, `cannot open the database ${path}: ${reason(error)}; ${next}`, { cause: error })
  if (DENIED.some((each) => each === code))
    return told('denied', 'choose a folder that you may write to, or run this as a user who may')
  if (FULL.some((each) => each === code)) return told('exhausted', 'free some space and try again')
  return told(
    'unavailable',
    'check that it is the path of an LMDB file, or of none yet in a folder that can be created',
  )
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
