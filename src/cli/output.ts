import { open, rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { printable, utf8 } from '../support/bytes.ts'
import { StoreError, systemCode } from '../support/errors.ts'
import { TEXT_OUTPUT_CHARACTERS } from '../support/limits.ts'

const STANDARD_OUTPUT = 'to standard output'

/**
 * From now on what cannot be written neither ends the process nor goes unnoticed: a reader that left (`| head`) is no
 * failure, a full disk is one. The function waits for what is on its way and tells of that.
 */
export function watchOutput(): () => Promise<StoreError | undefined> {
  let failure: StoreError | undefined
  const output = whenUsed('stdout', (error) => {
    if (systemCode(error) !== 'EPIPE') failure ??= outputError(STANDARD_OUTPUT, error)
  })
  whenUsed('stderr', () => {}) // where else could it be told?
  return async () => {
    await taken(output())
    await setImmediate()
    return failure
  }
}

/** Resolves when its reader has taken what was written: a pipe that is full keeps the rest waiting, and the end of the process would drop it. */
async function taken(output: NodeJS.WriteStream | undefined): Promise<void> {
  if (!output || output.writableLength === 0) return
  const { promise, resolve } = Promise.withResolvers<void>()
  output.write('', () => resolve()) // also called when the reader has left
  await promise
}

/**
 * Node makes these streams when they are first asked for, which takes milliseconds that a mount does not have at its start.
 * Returns what gives the stream once there is one.
 */
function whenUsed(
  name: 'stdout' | 'stderr',
  onError: (error: Error) => void,
): () => NodeJS.WriteStream | undefined {
  const { get } = Object.getOwnPropertyDescriptor(process, name)!
  let stream: NodeJS.WriteStream | undefined
  Object.defineProperty(process, name, {
    configurable: true,
    enumerable: true,
    get() {
      stream ??= (get!.call(process) as NodeJS.WriteStream).on('error', onError)
      return stream
    },
  })
  return () => stream
}

/**
 * Writes to standard output no faster than it is read. When the reader leaves (`| head`), the source is left as
 * well and all is well.
 */
export async function writeOutput(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    await pipeline(pieces, process.stdout, { end: false })
  } catch (error) {
    if (systemCode(error) !== 'EPIPE') throw outputError(STANDARD_OUTPUT, error)
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
    await rename(temp, path)
  } catch (error) {
    await rm(temp, { force: true })
    throw outputError(path, error)
  }
}

/** Why a file that a person named cannot be written. */
export function outputError(path: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error
  const code = systemCode(error)
  const reason = error instanceof Error ? error.message.replace(/,.*$/s, '') : String(error)
  const isDenied = code === 'EACCES' || code === 'EPERM'
  const message = `unable to write ${printable(utf8(path))}: ${reason}`
  return new StoreError(isDenied ? 'denied' : 'precondition', message, { cause: error })
}
