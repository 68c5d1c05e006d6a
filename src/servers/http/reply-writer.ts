import type { ServerResponse } from 'node:http'
import { constants, type Http2ServerResponse } from 'node:http2'
import type { Writable } from 'node:stream'
import { type Call, throwIfAborted } from '../../support/call.ts'
import { compressed } from '../../support/compress.ts'
import { StoreError } from '../../support/errors.ts'
import { HTTP_WRITE_BYTES } from '../../support/limits.ts'
import { inGroups, ofSize } from './pieces.ts'
import type { ReplyPlan } from './reply-plan.ts'

/** Where an answer goes, in either version of HTTP. */
export type ReplyStream = ServerResponse | Http2ServerResponse

/**
 * Sends an answer; resolves with the bytes of its body once the kernel has them. The first of them are there before
 * the headers go out: whatever fails until then is thrown with nothing sent, and can still become another answer.
 * `beforeEnd` runs when everything is written and the connection, if it is to be closed, still open.
 */
export async function writeReply(
  stream: ReplyStream,
  plan: ReplyPlan,
  call: Call,
  beforeEnd?: () => Promise<void>,
): Promise<number> {
  const groups = bodyOf(plan)
  const giveBack = giverBack(plan)
  try {
    const first = await groups.next()
    throwIfAborted(call.signal)
    writeHead(stream, plan)
    let sent = 0
    for (let next = first; !next.done; next = await groups.next()) {
      for (const piece of next.value) sent += piece.length
      if (!writeGroup(stream, next.value, giveBack)) await drained(stream, call.signal)
      throwIfAborted(call.signal)
    }
    await beforeEnd?.()
    await ended(stream)
    return sent
  } finally {
    await groups.return(undefined)
  }
}

/**
 * Breaks an answer off in the middle, in a way that no client can take for its end. An HTTP/2 stream cannot be: Node
 * ends it before it resets it. So its connection goes.
 */
export function tearDown(stream: ReplyStream): void {
  if ('stream' in stream) stream.stream.session?.destroy(undefined, constants.NGHTTP2_INTERNAL_ERROR)
  else stream.socket?.destroy()
}

function writeHead(stream: ReplyStream, { status, headers }: ReplyPlan): void {
  if ('stream' in stream) stream.writeHead(status, headers)
  else stream.writeHead(status, headers)
}

async function* bodyOf({ body }: ReplyPlan): AsyncGenerator<readonly Uint8Array[], void> {
  if (!body) return
  const { content, range, coding } = body
  const size = range ? range.end - range.start : content.size
  const source = content.read(range)
  const measured = size === undefined ? source : ofSize(source, size, wrongSize)
  yield* inGroups(coding ? compressed(measured, coding) : measured, HTTP_WRITE_BYTES)
}

/** More would run into the next answer on the connection. */
function wrongSize(what: string): StoreError {
  return new StoreError('corrupt', `the contents have ${what}`)
}

type GiveBack = (piece: Uint8Array) => void

/** What is compressed before it is sent is not given back: the compressor does not tell when it has read a piece. */
function giverBack({ body }: ReplyPlan): GiveBack | undefined {
  const content = body?.coding ? undefined : body?.content
  return content?.giveBack && ((piece) => content.giveBack!(piece))
}

/** In one system call, as far as the kernel takes it. Whether there is room for more. `giveBack` has what the kernel has. */
function writeGroup(stream: ReplyStream, group: readonly Uint8Array[], giveBack?: GiveBack): boolean {
  const sink: Writable = 'stream' in stream ? stream.stream : stream
  // Not the answer itself of HTTP/1: what it is given while it is corked, it never says that it has room again.
  const corked = 'stream' in stream ? stream.stream : stream.socket
  corked?.cork()
  let hasRoom = true
  for (const piece of group) hasRoom = writePiece(sink, piece, giveBack)
  corked?.uncork()
  return hasRoom
}

function writePiece(sink: Writable, piece: Uint8Array, giveBack: GiveBack | undefined): boolean {
  if (!giveBack) return sink.write(piece)
  // After a failure something may still be reading them.
  return sink.write(piece, (error) => error ?? giveBack(piece))
}

async function drained(stream: ReplyStream, signal: AbortSignal | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const settle = () => {
    stream.off('drain', settle)
    stream.off('close', settle)
    signal?.removeEventListener('abort', settle)
    resolve()
  }
  stream.once('drain', settle)
  stream.once('close', settle)
  signal?.addEventListener('abort', settle, { once: true })
  await promise
}

async function ended(stream: ReplyStream): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  stream.once('close', () => reject(new StoreError('cancelled', 'the client went away')))
  stream.end(() => resolve())
  await promise
}
