import { Counter, Gauge, Histogram, type Metric } from '../../support/metrics.ts'

/** Seconds: from a look into memory to the rendering of a large NAR. */
const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]

/** What is counted of the calls of a server. `service` is the full name, with its family. */
export class CallMetrics {
  readonly #calls = new Counter('tvix_store_grpc_calls_total', 'Calls that have ended.')
  readonly #seconds = new Histogram(
    'tvix_store_grpc_call_seconds',
    'How long calls took, from their headers to their status.',
    SECONDS,
  )
  readonly #received = new Counter('tvix_store_grpc_received_bytes_total', 'Bytes of request messages.')
  readonly #sent = new Counter('tvix_store_grpc_sent_bytes_total', 'Bytes of response messages.')
  readonly #open = new Gauge('tvix_store_grpc_open_calls', 'Calls that run now.', () => this.#running)
  #running = 0

  get all(): readonly Metric[] {
    return [this.#calls, this.#seconds, this.#received, this.#sent, this.#open]
  }

  begun(): void {
    this.#running++
  }

  ended(call: EndedCall): void {
    this.#running--
    const { service, method, status } = call
    this.#calls.add({ service, method, status })
    this.#seconds.observe({ service, method }, call.seconds)
    this.#received.add({ service, method }, call.receivedBytes)
    this.#sent.add({ service, method }, call.sentBytes)
  }
}

export interface EndedCall {
  readonly service: string
  readonly method: string
  /** `OK`, `NOT_FOUND` … */
  readonly status: string
  readonly seconds: number
  readonly receivedBytes: number
  readonly sentBytes: number
}
