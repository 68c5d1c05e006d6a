/**
 * Streaming decompression of what strangers compressed (spec §6.9): bounded in output, ratio and memory, strict about
 * the end. zstd, gzip and brotli run in Node's thread pool; xz and bzip2, for which Node has nothing, in the programs
 * of that name, which keeps decoders of hostile data out of this process.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createBrotliDecompress, createGunzip, createZstdDecompress } from 'node:zlib'
import { printable } from './bytes.ts'
import { type Call, throwIfAborted } from './call.ts'
import { StoreError, systemCode } from './errors.ts'
import {
  DECOMPRESSION_RATIO_MAX,
  DECOMPRESSION_UNRATED_BYTES,
  DECOMPRESSOR_MESSAGE_BYTES_MAX,
  READ_BUFFER_BYTES,
  XZ_MEMORY_BYTES_MAX,
  ZSTD_WINDOW_LOG_MAX,
} from './limits.ts'
import { cutAtFrameEnds } from './zstd-frames.ts'

/** The names that binary caches use (spec §6.8). */
export const COMPRESSIONS = ['none', 'xz', 'zstd', 'bzip2', 'gzip', 'br'] as const

export type Compression = (typeof COMPRESSIONS)[number]

export function isCompression(name: string): name is Compression {
  return (COMPRESSIONS as readonly string[]).includes(name)
}

const MAGICS: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
]

/** As many as the longest magic has. */
export const COMPRESSION_MAGIC_BYTES = 6

/** What the first COMPRESSION_MAGIC_BYTES belong to; `none` when to nothing known. Brotli has no mark. */
export function detectCompression(head: Uint8Array): Compression {
  return MAGICS.find(([, magic]) => magic.every((byte, i) => head[i] === byte))?.[0] ?? 'none'
}

export interface DecompressionOptions extends Call {
  /**
   * Bytes that were declared to come out. More is an error as soon as it comes; whether it is less is for the caller to
   * see. Without it the ratio is limited instead, which contents of zeros (disk images) can exceed honestly.
   */
  readonly declaredBytes?: number | bigint | undefined
}

/**
 * What `source` decompresses to. Throws `invalid-argument` for what does not decompress, ends early, is followed by
 * something else or is more than was declared; `exhausted` for what exceeds the ratio; `unimplemented`, naming the
 * package to install, without the program that is needed; errors of the source as they are.
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  options: DecompressionOptions = {},
): AsyncGenerator<Uint8Array> {
  const counted = new CountedSource(source)
  const declared = options.declaredBytes
  let bytesOut = 0
  for await (const piece of open(counted, compression, options)) {
    throwIfAborted(options.signal)
    bytesOut += piece.length
    if (declared !== undefined ? bytesOut > declared : isBomb(bytesOut, counted.bytes))
      throw tooMuch(compression, declared)
    yield piece
  }
}

function isBomb(bytesOut: number, bytesIn: number): boolean {
  return bytesOut > DECOMPRESSION_UNRATED_BYTES && bytesOut > DECOMPRESSION_RATIO_MAX * bytesIn
}

function tooMuch(compression: Compression, declared: number | bigint | undefined): StoreError {
  if (declared !== undefined)
    return new StoreError(
      'invalid-argument',
      `more comes out of the ${compression} data than the ${declared} bytes declared`,
    )
  return new StoreError(
    'exhausted',
    `the ${compression} data expands more than ${DECOMPRESSION_RATIO_MAX} times: refused as a decompression bomb`,
  )
}

class CountedSource implements AsyncIterable<Uint8Array> {
  readonly #source: AsyncIterable<Uint8Array>
  bytes = 0
  /** What the source itself threw, which is no fault of the decompressor. */
  failure: { readonly error: unknown } | undefined

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of this.#source) {
        this.bytes += piece.length
        if (piece.length > 0) yield piece
      }
    } catch (error) {
      this.failure = { error }
      throw error
    }
  }
}

function open(source: CountedSource, compression: Compression, call: Call): AsyncIterable<Uint8Array> {
  switch (compression) {
    case 'none':
      return source
    case 'xz':
    case 'bzip2':
      return throughProgram(source, compression, call)
    default:
      return throughZlib(source, compression, call)
  }
}

type ZlibCompression = 'zstd' | 'gzip' | 'br'

/** Node's own option of its web streams: without it what follows the end is dropped in silence. */
const STRICT = { chunkSize: READ_BUFFER_BYTES, rejectGarbageAfterEnd: true }
const ZSTD_WINDOW = { params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } }

const DECODERS: Readonly<Record<ZlibCompression, () => Transform & { readonly bytesWritten: number }>> = {
  zstd: () => createZstdDecompress({ ...STRICT, ...ZSTD_WINDOW }),
  // Takes further members for garbage when it is strict; see below.
  gzip: () => createGunzip({ chunkSize: READ_BUFFER_BYTES }),
  br: () => createBrotliDecompress(STRICT),
}

async function* throughZlib(
  source: CountedSource,
  compression: ZlibCompression,
  call: Call,
): AsyncGenerator<Uint8Array> {
  const decoder = DECODERS[compression]()
  const input = compression === 'zstd' ? cutAtFrameEnds(source) : source
  const feeding = pipeline(input, decoder, { ...(call.signal && { signal: call.signal }), end: true })
  feeding.catch(() => {}) // the decoder is destroyed with the same error, and its reader told
  try {
    yield* decoder
    if (source.bytes > decoder.bytesWritten) throw undecodable(compression, 'something else follows its end')
  } catch (error) {
    throw decodingError(source, compression, error)
  } finally {
    decoder.destroy()
    await feeding.catch(() => {})
  }
}

function decodingError(source: CountedSource, compression: Compression, error: unknown): unknown {
  if (source.failure) return source.failure.error
  if (error instanceof StoreError || (error instanceof Error && error.name === 'AbortError'))
    return StoreError.from(error)
  return undecodable(compression, error instanceof Error ? error.message : String(error), error)
}

function undecodable(compression: Compression, why: string, cause?: unknown): StoreError {
  return new StoreError('invalid-argument', `the ${compression} data cannot be decompressed: ${why}`, {
    cause,
  })
}

interface Program {
  readonly command: string
  readonly args: readonly string[]
  readonly debianPackage: string
}

const PROGRAMS: Readonly<Record<'xz' | 'bzip2', Program>> = {
  xz: {
    command: 'xz',
    args: ['--decompress', '--stdout', '--format=xz', `--memlimit-decompress=${XZ_MEMORY_BYTES_MAX}`],
    debianPackage: 'xz-utils',
  },
  bzip2: { command: 'bzip2', args: ['--decompress', '--stdout'], debianPackage: 'bzip2' },
}

async function* throughProgram(
  source: CountedSource,
  compression: 'xz' | 'bzip2',
  call: Call,
): AsyncGenerator<Uint8Array> {
  throwIfAborted(call.signal)
  const program = PROGRAMS[compression]
  const child = spawn(program.command, program.args, {
    stdio: 'pipe',
    // Nothing of ours: both programs take options out of environment variables.
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    ...(call.signal && { signal: call.signal }),
  })
  const ended = outcome(child, program)
  const feeding = pipeline(source, child.stdin)
  // A source that fails must not look like one that ended; a program that died tells why by itself.
  feeding.catch(() => child.kill('SIGKILL'))
  try {
    yield* child.stdout
    await feeding.catch(() => {})
    const complaint = await ended
    if (source.failure) throw source.failure.error
    if (complaint !== undefined) throw undecodable(compression, complaint)
  } finally {
    child.kill('SIGKILL')
    child.stdout.destroy()
    child.stdin.destroy()
    await feeding.catch(() => {})
    await ended.catch(() => {})
  }
}

/** What the program complained about when it ended, if it did; warnings (of trailing garbage) are complaints. */
function outcome(child: ChildProcess, program: Program): Promise<string | undefined> {
  let said = Buffer.alloc(0)
  child.stderr!.on('data', (bytes: Buffer) => {
    if (said.length < DECOMPRESSOR_MESSAGE_BYTES_MAX) said = Buffer.concat([said, bytes])
  })
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>()
  promise.catch(() => {})
  child.once('error', (error) => reject(programError(program, error)))
  child.once('close', (code, signal) => {
    const message = printable(said.subarray(0, DECOMPRESSOR_MESSAGE_BYTES_MAX)).trim()
    resolve(
      code === 0 && message === '' ? undefined : message || `it ended with ${signal ?? `status ${code}`}`,
    )
  })
  return promise
}

function programError({ command, debianPackage }: Program, error: Error): StoreError {
  if (error.name === 'AbortError') return StoreError.from(error)
  // A process that serves guests has given that up (native/confine.h).
  if (systemCode(error) === 'EPERM')
    return new StoreError(
      'unimplemented',
      `this process may not start the program "${command}", which is needed to decompress this; see --no-confine`,
      { cause: error },
    )
  if (systemCode(error) !== 'ENOENT')
    return new StoreError('unavailable', `${command}: ${error.message}`, { cause: error })
  return new StoreError(
    'unimplemented',
    `the program "${command}" is needed to decompress this: install the package ${debianPackage}`,
    { cause: error },
  )
}
