import { createReadStream, statSync } from 'node:fs'
import { connect } from 'node:net'
import { utf8 } from '../support/bytes.ts'
import { READ_BUFFER_BYTES } from '../support/limits.ts'
import { sourceError } from '../transfer/source.ts'

/** The bytes of a file, of standard input for `-`, or of whoever listens on a unix socket (spec §4.5). */
export async function* readInput(path: string): AsyncGenerator<Uint8Array> {
  try {
    yield* openInput(path)
  } catch (error) {
    throw sourceError('read', utf8(inputName(path)), error)
  }
}

export function inputName(path: string): string {
  return path === '-' ? 'standard input' : path
}

function openInput(path: string): AsyncIterable<Uint8Array> {
  if (path === '-') return process.stdin
  // The peer sends; we have nothing to say, and a peer that reads first would wait for ever.
  if (statSync(path).isSocket()) return connect(path).end()
  return createReadStream(path, { highWaterMark: READ_BUFFER_BYTES })
}
