import type { Call } from '../../support/call.ts'
import type { StoreError } from '../../support/errors.ts'
import { opcodeName } from './protocol.ts'
import type { Request } from './request.ts'

/**
 * A request that was read and not yet answered, as long as that takes. It is the `Call` that the tree gets; most
 * calls are answered at once and never look at the signal, so that is made on first use.
 */
export class PendingRequest implements Call {
  readonly opcode: number
  readonly nodeid: number
  readonly uniqueLow: number
  readonly uniqueHigh: number
  /** Whether the kernel got an answer. What the tree brings later is dropped. */
  answered = false
  /** Ends the wait; set when there is one. */
  timer: NodeJS.Timeout | undefined
  #controller: AbortController | undefined

  constructor(request: Pick<Request, 'opcode' | 'nodeid' | 'uniqueLow' | 'uniqueHigh'>) {
    this.opcode = request.opcode
    this.nodeid = request.nodeid
    this.uniqueLow = request.uniqueLow
    this.uniqueHigh = request.uniqueHigh
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    return this.#controller.signal
  }

  abort(reason: StoreError): void {
    this.#controller ??= new AbortController()
    this.#controller.abort(reason)
  }

  /** Tells it apart from the others in flight. */
  get key(): bigint {
    return uniqueKey(this.uniqueLow, this.uniqueHigh)
  }

  toString(): string {
    return `${opcodeName(this.opcode)} of inode ${this.nodeid}`
  }
}

export function uniqueKey(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low)
}
