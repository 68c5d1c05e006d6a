import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What happens to one connection. Offsets count the bytes of one direction from its beginning. */
export type Fault =
  | { readonly kind: 'none' }
  /** After `at` bytes: both ends are reset, or closed in good order, or only this direction is, or silence falls. */
  | { readonly kind: 'reset' | 'close' | 'half-close' | 'black-hole'; readonly at: number }
  /** The bit `bit` of the byte at `at` is flipped. */
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  /** `length` bytes from `at` on are left out, or sent twice. */
  | { readonly kind: 'omit' | 'repeat'; readonly at: number; readonly length: number }
  /** Nothing for `ms` milliseconds at `at`, then all of it. */
  | { readonly kind: 'delay'; readonly at: number; readonly ms: number }
  /** From `at` on at most `bytes` in `ms` milliseconds: a bandwidth cap, or a slow loris with one byte. */
  | { readonly kind: 'trickle'; readonly at: number; readonly bytes: number; readonly ms: number }
  /** Bytes that nobody sent, at `at`. */
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }

/** Which way: towards the client (answers) or towards the server (requests). */
export type Direction = 'down' | 'up'

export interface ConnectionPlan {
  readonly direction: Direction
  readonly fault: Fault
}

export const HEALTHY: ConnectionPlan = { direction: 'down', fault: { kind: 'none' } }

/** Loopback only, and it lives as long as the test. */
export interface TcpFaultProxy extends AsyncDisposable {
  /** `grpc+http://…` */
  readonly address: string
  readonly port: number
  /** Connections that were made so far. */
  readonly connections: number
  /** Bytes that passed towards the client, over all connections. */
  readonly bytesDown: number
  /** Cuts every connection; new ones are refused until `up` is called. */
  down(): Promise<void>
  up(): Promise<void>
}

/**
 * Passes bytes between clients and the server at `target` (`host:port`). The n-th connection gets the n-th plan, and
 * those behind the last plan get `rest`. Plans are data, so that a failing one can be printed and run again.
 */
export async function startTcpFaultProxy(
  target: string,
  plans: readonly ConnectionPlan[] = [],
  rest: ConnectionPlan = HEALTHY,
): Promise<TcpFaultProxy> {
  const [host, targetPort] = target.split(':') as [string, string]
  const sockets = new Set<Socket>()
  const counts = { connections: 0, bytesDown: 0 }
  const adopt = (socket: Socket) => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {}) // the other side of the pair shows it
    socket.on('close', () => sockets.delete(socket))
  }
  const accept = (near: Socket) => {
    const { direction, fault } = plans[counts.connections++] ?? rest
    const far = connect({ host, port: Number(targetPort), allowHalfOpen: true })
    for (const socket of [near, far]) adopt(socket)
    void carry(near, far, direction === 'up' ? fault : { kind: 'none' }, () => {})
    void carry(far, near, direction === 'down' ? fault : { kind: 'none' }, (bytes) => {
      counts.bytesDown += bytes
    })
  }
  const listen = async (port: number) => {
    const server = createServer({ allowHalfOpen: true }, accept).listen(port, '127.0.0.1')
    await once(server, 'listening')
    return server
  }
  let server = await listen(0)
  const { port } = server.address() as AddressInfo
  const down = async () => {
    for (const socket of sockets) socket.resetAndDestroy()
    if (!server.listening) return
    server.close()
    await once(server, 'close')
  }
  return {
    address: `grpc+http://127.0.0.1:${port}`,
    port,
    get connections() {
      return counts.connections
    },
    get bytesDown() {
      return counts.bytesDown
    },
    down,
    async up() {
      server = await listen(port)
    },
    [Symbol.asyncDispose]: down,
  }
}

/** Copies one direction and does to it what the fault says. */
async function carry(from: Socket, to: Socket, fault: Fault, count: (bytes: number) => void): Promise<void> {
  let offset = 0
  const write = async (bytes: Uint8Array) => {
    count(bytes.length)
    if (bytes.length > 0 && !to.write(bytes) && !to.destroyed)
      await Promise.race([once(to, 'drain'), once(to, 'close')])
  }
  try {
    for await (const piece of from as AsyncIterable<Buffer>) {
      const inside = fault.kind !== 'none' && offset + piece.length > fault.at
      if (!inside) await write(piece)
      else if (!(await strike(fault, piece, offset, write, from, to))) return
      offset += piece.length
    }
    to.end()
  } catch {
    to.destroy() // the direction broke; so does the other, as on a real line
  }
}

/** False when nothing more is to be carried. */
async function strike(
  fault: Exclude<Fault, { kind: 'none' }>,
  piece: Buffer,
  offset: number,
  write: (bytes: Uint8Array) => Promise<void>,
  from: Socket,
  to: Socket,
): Promise<boolean> {
  const at = Math.max(0, fault.at - offset)
  const isHere = fault.at >= offset
  const [before, after] = [piece.subarray(0, at), piece.subarray(at)]
  switch (fault.kind) {
    case 'reset':
    case 'close':
    case 'half-close':
    case 'black-hole':
      await write(before)
      return end(fault.kind, from, to)
    case 'flip':
      if (isHere) piece[at]! ^= 1 << fault.bit
      await write(piece)
      return true
    case 'omit': {
      const until = Math.max(at, Math.min(piece.length, fault.at + fault.length - offset))
      await write(before)
      await write(piece.subarray(until))
      return true
    }
    case 'repeat':
      await write(piece.subarray(0, isHere ? at + fault.length : piece.length))
      if (isHere) await write(piece.subarray(at))
      return true
    case 'insert':
      await write(before)
      if (isHere) await write(fault.bytes)
      await write(after)
      return true
    case 'delay':
      await write(before)
      if (isHere) await pause(fault.ms, to)
      await write(after)
      return true
    case 'trickle':
      await write(before)
      for (let start = 0; start < after.length && !to.destroyed; start += fault.bytes) {
        await write(after.subarray(start, start + fault.bytes))
        await pause(fault.ms, to)
      }
      return true
  }
}

function end(kind: 'reset' | 'close' | 'half-close' | 'black-hole', from: Socket, to: Socket): false {
  if (kind === 'reset') for (const socket of [from, to]) socket.resetAndDestroy()
  if (kind === 'close') for (const socket of [from, to]) socket.destroySoon()
  if (kind === 'half-close') to.end()
  // What still comes is swallowed, so that the sender does not notice either.
  if (kind !== 'reset') from.resume()
  return false
}

/** Part of the fault and not of a test; ends early when the connection does. */
function pause(ms: number, socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      socket.off('close', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    socket.on('close', done)
  })
}
