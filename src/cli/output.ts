import { once } from 'node:events'
import { open, rename, rm } from 'node:fs/promises'
import { utf8 } from '../support/bytes.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { sourceError } from '../transfer/source.ts'

/**
 * Writes to standard output no faster than it is read. When the reader leaves (`| head`), the source is left as
 * well and all is well.
 */
export async function writeOutput(pieces: AsyncIterable<Uint8Array | string>): Promise<void> {
  const { stdout } = process
  let failure: Error | undefined
  const fail = (error: Error) => {
    failure ??= error
  }
  stdout.on('error', fail)
  try {
    for await (const piece of pieces) {
      if (!failure && !stdout.write(piece)) await Promise.race([once(stdout, 'drain'), once(stdout, 'close')])
      if (failure) break
    }
    if (!failure) await new Promise<void>((resolve) => stdout.write('', () => resolve()))
  } catch (error) {
    fail(error as Error)
  } finally {
    stdout.off('error', fail)
  }
  if (failure && systemCode(failure) !== 'EPIPE') throw failure
}

/** Binary data on a terminal helps nobody and may reprogram it. */
export function refuseTerminal(what: string): void {
  if (process.stdout.isTTY)
    throw new StoreError(
      'invalid-argument',
      `${what} is no text for a terminal; use > FILE, a pipe, or --output FILE`,
    )
}

/** Writes a file that is there when it is complete, and not before. */
export async function writeFileWhole(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  const temp = `${path}.${process.pid}.tmp`
  try {
    await using file = await open(temp, 'wx')
    for await (const piece of pieces) await file.writeFile(piece)
    await file.sync()
  } catch (error) {
    await rm(temp, { force: true })
    throw sourceError('write', utf8(path), error)
  }
  await rename(temp, path)
}
