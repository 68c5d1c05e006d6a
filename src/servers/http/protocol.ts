import type { Socket } from 'node:net'
import { HTTP_SERVER_HEADERS_MS_MAX } from '../../support/limits.ts'

/** What an HTTP/2 client that asked for nothing first says first (RFC 9113 §3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/**
 * Which HTTP a new connection speaks, from its first bytes, which are put back for whoever serves it. `undefined` when
 * it ended, or said nothing for HTTP_SERVER_HEADERS_MS_MAX; the socket is destroyed then.
 */
export async function protocolOf(socket: Socket): Promise<'http/1.1' | 'h2' | undefined> {
  const { promise, resolve } = Promise.withResolvers<'http/1.1' | 'h2' | undefined>()
  let head = Buffer.alloc(0)
  const look = () => {
    for (let piece: Buffer | null = socket.read(); piece; piece = socket.read())
      head = Buffer.concat([head, piece])
    const length = Math.min(head.length, PREFACE.length)
    const isPrefix = head.subarray(0, length).equals(PREFACE.subarray(0, length))
    if (!isPrefix) settle('http/1.1')
    else if (length === PREFACE.length) settle('h2')
  }
  const fail = () => settle(undefined)
  const timer = setTimeout(fail, HTTP_SERVER_HEADERS_MS_MAX)
  const settle = (protocol: 'http/1.1' | 'h2' | undefined) => {
    clearTimeout(timer)
    socket.off('readable', look).off('end', fail).off('close', fail).off('error', fail)
    if (!protocol) socket.destroy()
    else if (head.length > 0) socket.unshift(head)
    resolve(protocol)
  }
  socket.on('readable', look).on('end', fail).on('close', fail).on('error', fail)
  return promise
}
