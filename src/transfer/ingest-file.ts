import fs from 'node:fs'
import { promisify } from 'node:util'
import type { Digest } from '../model/castore/digest.ts'
import type { FileNode } from '../model/castore/node.ts'
import type { IngestProgress } from '../services/pathinfos/interface.ts'
import { printable } from '../support/bytes.ts'
import { type Call, throwIfAborted } from '../support/call.ts'
import { StoreError } from '../support/errors.ts'
import {
  READ_BUFFER_BYTES,
  READ_ON_SPOT_BYTES_MAX,
  SMALL_BLOB_BYTES_MAX,
  STREAMED_BLOB_BYTES,
} from '../support/limits.ts'
import type { ReadPace } from '../support/read-pace.ts'
import type { BlobUploader } from './blob-uploader.ts'
import { OPEN_SOURCE_FLAGS, sourceError } from './source.ts'

const OWNER_EXECUTE = 0o100n

/** What may wait for the disk; stat and close of an open file answer from memory and are called on the spot. */
const open = promisify<Uint8Array, number, number>(fs.open as never)
const read = promisify(fs.read) as unknown as (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: null,
) => Promise<{ bytesRead: number }>

export interface IngestFileOptions extends Call {
  /** Of the tree that the file is in. */
  readonly pace: ReadPace
  readonly progress?: IngestProgress | undefined
}

/**
 * Stores one regular file. Its size is what was read, and what was read is what was there from the first byte to
 * the last: a file whose size or times moved meanwhile is an error, since its digest would describe a state that
 * never existed.
 */
export async function ingestFile(
  path: Uint8Array,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<FileNode> {
  const fd = await openSource(path, options.pace)
  try {
    const before = fs.fstatSync(fd, { bigint: true })
    if (!before.isFile()) throw changed(path)
    const size = Number(before.size)
    const source = { fd, path, size, before }
    const digest =
      size <= SMALL_BLOB_BYTES_MAX
        ? await uploadSmall(source, uploader, options)
        : await uploadLarge(source, uploader, options)
    options.progress?.file()
    return { kind: 'file', digest, size: before.size, executable: (before.mode & OWNER_EXECUTE) !== 0n }
  } catch (error) {
    throw sourceError('read', path, error)
  } finally {
    fs.closeSync(fd)
  }
}

interface Source {
  readonly fd: number
  readonly path: Uint8Array
  readonly size: number
  readonly before: fs.BigIntStats
}

async function uploadSmall(
  source: Source,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<Digest> {
  const release = await uploader.reserve(source.size, options)
  try {
    // One byte more than expected tells a file that grew.
    const buffer = Buffer.allocUnsafeSlow(source.size + 1)
    const length = await readFully(source, buffer, options.pace, source.size)
    checkUnchanged(source, length)
    options.progress?.read(length)
    return await uploader.upload(buffer.subarray(0, length), options)
  } finally {
    release()
  }
}

async function uploadLarge(
  source: Source,
  uploader: BlobUploader,
  options: IngestFileOptions,
): Promise<Digest> {
  const release = await uploader.reserve(STREAMED_BLOB_BYTES, options)
  const writer = uploader.blobs.openWrite(options)
  try {
    let total = 0
    for (;;) {
      throwIfAborted(options.signal)
      // A fresh buffer each time: the writer may still hold the last one.
      const buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES)
      const length = await readFully(source, buffer, options.pace)
      if (length > 0) await writer.write(buffer.subarray(0, length))
      total += length
      options.progress?.read(length)
      if (length < buffer.length) break
    }
    checkUnchanged(source, total)
    return await writer.close()
  } catch (error) {
    await writer.abort()
    throw error
  } finally {
    release()
  }
}

async function openSource(path: Uint8Array, pace: ReadPace): Promise<number> {
  try {
    const name = Buffer.from(path)
    if (pace.isOnSpot) return pace.run(() => fs.openSync(name, OPEN_SOURCE_FLAGS))
    return await open(name, OPEN_SOURCE_FLAGS)
  } catch (error) {
    throw sourceError('open', path, error)
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
  // Somebody who hard-links the file (Nix optimising its store) moves ctime and changes nothing.
  const sameTimes =
    after.mtimeNs === before.mtimeNs && (after.ctimeNs === before.ctimeNs || after.nlink !== before.nlink)
  if (after.size !== before.size || after.mode !== before.mode || !sameTimes || bytesRead !== source.size)
    throw changed(source.path)
}

function changed(path: Uint8Array): StoreError {
  return new StoreError(
    'precondition',
    `${printable(path)} changed while it was read: import it again when nobody writes to it`,
  )
}
