import { dirname } from 'node:path'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { systemCode } from '../../support/errors.ts'
import type { DiskSync } from './disk-sync.ts'
import type { FileFolders } from './file-folders.ts'
import type { FileOps } from './file-ops.ts'
import type { FileReads } from './file-reads.ts'
import { newTempPath } from './file-root.ts'

/** What everything that writes to a store shares. */
export interface FilePutContext {
  readonly root: string
  readonly ops: FileOps
  readonly sync: DiskSync
  readonly reads: FileReads
  readonly folders: FileFolders
}

/**
 * Stores one object: write a temp file, sync it, rename it to its name, sync the folder (and those above it, when it is
 * new). Whenever the power goes, there is either the whole object or none, and once this resolved there is the object.
 */
export async function putFile(
  context: FilePutContext,
  path: string,
  body: Uint8Array,
  call?: Call & { ifAbsent?: boolean | undefined },
): Promise<void> {
  if (call?.ifAbsent && (await context.reads.sizeOf(path)) !== undefined) return
  await context.folders.ensure(dirname(path))
  if (body.length > 0 || !(await createEmpty(context, path))) await replace(context, path, body, call)
  await context.folders.syncEntry(path)
}

/** Without contents nothing could be half there, so it needs no temp file. False when there is a file already. */
async function createEmpty({ ops }: FilePutContext, path: string): Promise<boolean> {
  try {
    ops.close(await ops.open(path, 'wx'))
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  }
}

async function replace(context: FilePutContext, path: string, body: Uint8Array, call?: Call): Promise<void> {
  const { root, ops, folders } = context
  const temp = newTempPath(root)
  try {
    await folders.ensure(dirname(temp))
    await writeTemp(context, temp, body, call)
    await ops.rename(temp, path)
  } catch (error) {
    await ops.unlink(temp).catch(() => {}) // it may be gone or never have been; the first error counts
    throw error
  }
}

async function writeTemp(
  { ops, sync }: FilePutContext,
  temp: string,
  body: Uint8Array,
  call?: Call,
): Promise<void> {
  const fd = await ops.open(temp, 'wx')
  try {
    let written = 0
    while (written < body.length) written += await ops.write(fd, body, written)
    // An empty file has no contents to lose; its existence is the folder's business.
    if (body.length > 0) await sync.file(fd)
  } finally {
    ops.close(fd)
  }
  throwIfAborted(call?.signal)
}
