import { open, rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { utf8 } from '../support/bytes.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { TEXT_OUTPUT_CHARACTERS } from '../support/limits.ts'
import { sourceError } from '../transfer/source.ts'

/**
 * Writes to standard output no faster than it is read. When the reader leaves (`| head`), the source is left as
 * well and all is well.
 */
export async function writeOutput(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    await pipeline(pieces, process.stdout, { end: false })
  } catch (error) {
    if (systemCode(error) !== 'EPIPE') throw error
  }
}

/** The same for text, which comes in many small pieces. */
export function writeText(pieces: AsyncIterable<string>): Promise<void> {
  return writeOutput(gather(pieces))
}

async function* gather(pieces: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  let text = ''
  for await (const piece of pieces) {
    text += piece
    if (text.length < TEXT_OUTPUT_CHARACTERS) continue
    yield utf8(text)
    text = ''
  }
  if (text !== '') yield utf8(text)
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
