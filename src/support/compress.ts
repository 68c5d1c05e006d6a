/**
 * Streaming compression, made while it is sent: fast rather than small. zstd, gzip and brotli run in Node's thread
 * pool; xz and bzip2, for which Node has nothing, in the programs of that name.
 */
import { spawn } from 'node:child_process'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createBrotliCompress, createGzip, createZstdCompress } from 'node:zlib'
import type { Call } from './call.ts'
import type { Compression } from './decompress.ts'
import { StoreError, systemCode } from './errors.ts'
import { READ_BUFFER_BYTES } from './limits.ts'

const CHUNKS = { chunkSize: READ_BUFFER_BYTES }
const ENCODERS = {
  zstd: () => createZstdCompress({ ...CHUNKS, params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  gzip: () => createGzip({ ...CHUNKS, level: 1 }),
  br: () => createBrotliCompress({ ...CHUNKS, params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
} satisfies Record<string, () => Transform>

/**
 * The bytes of `source`, compressed. An error of the source is thrown as it is, and what came out by then has no end.
 * Throws `unimplemented`, naming what to install, without the program that is needed.
 */
export async function* compressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  call: Call = {},
): AsyncGenerator<Uint8Array> {
  if (compression === 'none') yield* source
  else if (compression === 'xz' || compression === 'bzip2') yield* throughProgram(source, compression, call)
  else yield* throughEncoder(source, ENCODERS[compression]())
}

async function* throughEncoder(
  source: AsyncIterable<Uint8Array>,
  encoder: Transform,
): AsyncGenerator<Uint8Array> {
  const feeding = pipeline(source, encoder)
  feeding.catch(() => {}) // the encoder is destroyed with the same error, and its reader told
  try {
    yield* encoder
  } finally {
    encoder.destroy()
    await feeding.catch(() => {})
  }
}

async function* throughProgram(
  source: AsyncIterable<Uint8Array>,
  command: 'xz' | 'bzip2',
  call: Call,
): AsyncGenerator<Uint8Array> {
  const child = spawn(command, ['--compress', '--stdout', '-1'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    // Nothing of ours: both programs take options out of environment variables.
    env: { PATH: process.env['PATH'] },
    ...(call.signal && { signal: call.signal }),
  })
  const exited = Promise.withResolvers<number | null>()
  exited.promise.catch(() => {})
  child.once('error', (error) => exited.reject(startError(command, error)))
  child.once('close', (code) => exited.resolve(code))
  let failure: { readonly error: unknown } | undefined
  const feeding = pipeline(source, child.stdin).catch((error: unknown) => {
    failure = { error }
    child.kill('SIGKILL')
  })
  try {
    yield* child.stdout
    const code = await exited.promise
    await feeding
    if (failure) throw failure.error
    if (code !== 0) throw new StoreError('internal', `${command} ended with status ${code}`)
  } finally {
    child.kill('SIGKILL')
    child.stdin.destroy()
    child.stdout.destroy()
    await feeding
    await exited.promise.catch(() => {})
  }
}

function startError(command: string, error: Error): StoreError {
  if (error.name === 'AbortError') return StoreError.from(error)
  if (systemCode(error) !== 'ENOENT')
    return new StoreError('unavailable', `${command}: ${error.message}`, { cause: error })
  const what = command === 'xz' ? 'xz-utils' : command
  return new StoreError('unimplemented', `the program "${command}" is needed: install ${what}`, {
    cause: error,
  })
}
