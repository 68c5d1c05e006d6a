import { createReadStream, statSync } from 'node:fs'
import { connect } from 'node:net'
import { addAbortSignal, type Readable } from 'node:stream'
import { utf8 } from '../support/bytes.ts'
import type { Call } from '../support/call.ts'
import { READ_BUFFER_BYTES } from '../support/limits.ts'
import { sourceError } from '../transfer/source.ts'

/** The bytes of a file, of standard input for `-`, or of whoever listens on a unix socket (spec §4.5). */
export async function* readInput(path: string, call?: Call): AsyncGenerator<Uint8Array> {
  try {
    const input = openInput(path)
    // Who is to write may never do so.
    yield* call?.signal ? addAbortSignal(call.signal, input) : input
  } catch (error) {
    throw sourceError('read', utf8(inputName(path)), error)
  }
}

export function inputName(path: string): string {
  return path === '-' ? 'standard input' : path
}

function openInput(path: string): Readable {
  if (path === '-') return process.stdin
  // The peer sends; we have nothing to say, and a peer that reads first would wait for ever.
  if (statSync(path).isSocket()) return connect(path).end()
  return createReadStream(path, { highWaterMark: READ_BUFFER_BYTES })
}
