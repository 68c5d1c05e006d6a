/**
 * A TCP proxy as long and as narrow as a link: `node link-proxy.ts LISTEN-HOST PORT TARGET-PORT ONE-WAY-MS BYTES-PER-SECOND`. All
 * connections share the width of each direction. Says `ready` when it listens.
 */
import { connect, createServer, type Socket } from 'node:net'

const [host = '', port = '', targetPort = '', delayMs = '', bytesPerSecond = ''] = process.argv.slice(2)

/** What one direction holds before it makes its sender wait: twice what fits into 1 Gbit/s × 20 ms. */
const HELD_BYTES_MAX = 4 * 1024 * 1024

/** A piece may arrive so much before its time: timers are no finer. */
const EARLY_MS = 0.5

interface Travelling {
  readonly piece: Buffer
  readonly to: Socket
  readonly from: Socket
  readonly arrives: number
}

/** One direction. */
class Lane {
  #freeAt = 0
  #held = 0
  #timer: NodeJS.Timeout | undefined
  readonly #travelling: Travelling[] = []
  readonly #paused = new Set<Socket>()

  send(from: Socket, to: Socket, piece: Buffer): void {
    const now = performance.now()
    this.#freeAt = Math.max(now, this.#freeAt) + (piece.length * 1000) / Number(bytesPerSecond)
    this.#travelling.push({ piece, from, to, arrives: this.#freeAt + Number(delayMs) })
    this.#held += piece.length
    if (this.#held > HELD_BYTES_MAX) {
      from.pause()
      this.#paused.add(from)
    }
    this.#schedule()
  }

  #schedule(): void {
    const [next] = this.#travelling
    if (!next || this.#timer) return
    const wait = next.arrives - performance.now()
    // A timer takes a millisecond at least, which a link that the kernel shapes has not.
    if (wait <= EARLY_MS) this.#deliver()
    else this.#timer = setTimeout(() => this.#deliver(), wait)
  }

  #deliver(): void {
    this.#timer = undefined
    const now = performance.now() + EARLY_MS
    let arrived = 0
    for (const { piece, to, arrives } of this.#travelling) {
      if (arrives > now) break
      arrived++
      this.#held -= piece.length
      if (!to.destroyed) to.write(piece)
    }
    this.#travelling.splice(0, arrived)
    if (this.#held < HELD_BYTES_MAX / 2) {
      for (const socket of this.#paused) socket.resume()
      this.#paused.clear()
    }
    this.#schedule()
  }
}

const [there, back] = [new Lane(), new Lane()]
createServer((near) => {
  const far = connect(Number(targetPort), '127.0.0.1')
  for (const [socket, other, lane] of [
    [near, far, there],
    [far, near, back],
  ] as const) {
    socket.setNoDelay(true)
    socket.on('data', (piece) => lane.send(socket, other, piece))
    socket.on('error', () => other.destroy())
    // What is still on its way arrives first.
    socket.on('close', () => setTimeout(() => other.destroySoon(), 2 * Number(delayMs) + 50))
  }
}).listen(Number(port), host, () => console.log('ready'))
