import fs from 'node:fs'
import { promisify } from 'node:util'
import type { Digest } from '../model/castore/digest.ts'
import type { FileNode } from '../model/castore/node.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { countBuffers } from '../support/buffer-garbage.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import {
  READ_BUFFER_BYTES,
  READ_ON_SPOT_BYTES_MAX,
  SMALL_BLOB_BYTES_MAX,
  STREAMED_BLOB_BYTES,
} from '../support/limits.ts'
import type { ReadPace } from '../support/read-pace.ts'
import { type FileState, isExecutable, isSameState } from '../support/source-records.ts'
import type { BlobUploader } from './blob-uploader.ts'
import { changedFile, OPEN_SOURCE_FLAGS, sourceError } from './source.ts'
import type { NarFile } from './source-nar.ts'

/** What may wait for the disk; stat and close of an open file answer from memory and are called on the spot. */
const open = promisify<Uint8Array, number, number>(fs.open as never)
const read = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: null,
) => Promise<{ bytesRead: number }>

/** A file that is about to be read, with what it needs for that. */
export interface FileTurn {
  readonly path: Uint8Array
  /** As it was a moment ago, and has to be still. */
  readonly state: FileState
  /** Type and permissions; likewise. */
  readonly mode: number
  /** Hashes its contents on the way, where that is wanted. */
  readonly nar: NarFile | undefined
  /** Called once it is closed: files are open in a limited number. */
  readonly closed: () => void
}

export interface IngestFileOptions extends Call {
  /** Of the tree that the file is in. */
  readonly pace: ReadPace
  readonly progress?: IngestProgress | undefined
}

/** What of the budget of memory a file of this size needs. */
export function memoryFor(size: bigint): number {
  return size <= BigInt(SMALL_BLOB_BYTES_MAX) ? Number(size) : STREAMED_BLOB_BYTES
}

export interface StoredFile {
  readonly node: FileNode
  /** Resolves when its contents were hashed for the NAR, too, and are in memory no longer. */
  readonly hashed: Promise<void>
}

/**
 * Stores one regular file. Its size is what was read, and what was read is what was there from the first byte to
 * the last: a file whose size or times moved meanwhile is an error, since its digest would describe a state that
 * never existed.
 */
export async function ingestFile(
  turn: FileTurn,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<StoredFile> {
  const { path, state } = turn
  const source = await openSource(turn, options.pace)
  try {
    const { digest, hashed } =
      state.size <= BigInt(SMALL_BLOB_BYTES_MAX)
        ? await uploadSmall(source, uploader, options)
        : await uploadLarge(source, uploader, options)
    options.progress?.file()
    const executable = isExecutable(turn.mode)
    return { node: { kind: 'file', digest, size: state.size, executable }, hashed }
  } catch (error) {
    throw sourceError('read', path, error)
  } finally {
    source.close()
  }
}

interface Source {
  readonly fd: number
  readonly path: Uint8Array
  readonly size: number
  readonly before: FileState
  readonly mode: number
  readonly nar: NarFile | undefined
  /** Does nothing the second time. */
  readonly close: () => void
}

interface Uploaded {
  readonly digest: Digest
  readonly hashed: Promise<void>
}

const HASHED = Promise.resolve()

async function uploadSmall(
  source: Source,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<Uploaded> {
  // One byte more than expected tells a file that grew.
  const buffer = Buffer.allocUnsafeSlow(source.size + 1)
  countBuffers(buffer.length)
  const length = await readFully(source, buffer, options.pace, source.size)
  checkUnchanged(source, length)
  source.close()
  options.progress?.read(length)
  const contents = buffer.subarray(0, length)
  // The hash may be far behind. It is waited for by whom the memory belongs to; a failure of it is told by the hash itself, too.
  const hashed = (length > 0 && source.nar?.write(contents)) || HASHED
  hashed.catch(() => {})
  return { digest: await uploader.upload(contents, options), hashed }
}

async function uploadLarge(
  source: Source,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<Uploaded> {
  const writer = uploader.blobs.openWrite(options)
  try {
    let total = 0
    for (;;) {
      throwIfAborted(options.signal)
      // A fresh buffer each time: the writer may still hold the last one.
      const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
      countBuffers(buffer.length)
      const length = await readFully(source, buffer, options.pace)
      total += length
      if (total > source.size) break
      const piece = buffer.subarray(0, length)
      if (length > 0) await Promise.all([writer.write(piece), source.nar?.write(piece)])
      options.progress?.read(length)
      if (length < buffer.length) break
    }
    checkUnchanged(source, total)
    return { digest: await writer.close(), hashed: HASHED }
  } catch (error) {
    await writer.abort()
    throw error
  }
}

async function openSource(turn: FileTurn, pace: ReadPace): Promise<Source> {
  const { path, state, mode, nar, closed } = turn
  let fd: number
  try {
    const name = Buffer.from(path)
    fd = pace.isOnSpot
      ? pace.run(() => fs.openSync(name, OPEN_SOURCE_FLAGS))
      : await open(name, OPEN_SOURCE_FLAGS)
  } catch (error) {
    throw sourceError('open', path, error)
  }
  let isOpen = true
  const close = () => {
    if (!isOpen) return
    isOpen = false
    fs.closeSync(fd)
    closed()
  }
  const source = { fd, path, size: Number(state.size), before: state, mode, nar, close }
  try {
    checkUnchanged(source, source.size)
    return source
  } catch (error) {
    close()
    throw error
  }
}

/** Reads from the current position until there are `enough` bytes or the file ends. */
async function readFully(
  { fd }: Source,
  buffer: Buffer,
  pace: ReadPace,
  enough = buffer.length,
): Promise<number> {
  let filled = 0
  while (filled < enough) {
    const isOnSpot = buffer.length <= READ_ON_SPOT_BYTES_MAX && pace.isOnSpot
    const bytesRead = isOnSpot
      ? pace.run(() => fs.readSync(fd, buffer, filled, buffer.length - filled, null))
      : (await read(fd, buffer, filled, buffer.length - filled, null)).bytesRead
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

function checkUnchanged(source: Source, bytesRead: number): void {
  const { before } = source
  const after = fs.fstatSync(source.fd, { bigint: true })
  if (!isSameState(after, before) || Number(after.mode) !== source.mode || bytesRead !== source.size)
    throw changedFile(source.path)
}
