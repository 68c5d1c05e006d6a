import { Counter, Gauge, Histogram, type Labels, type Metric } from '../../support/metrics.ts'

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
  /** One object for each combination, so that a call does not render them anew: that was a twentieth of what one costs. */
  readonly #labels = new Map<string, Labels>()
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
    const labels = this.#once(`${service}/${method}`, { service, method })
    this.#calls.add(this.#once(`${service}/${method} ${status}`, { service, method, status }))
    this.#seconds.observe(labels, call.seconds)
    this.#received.add(labels, call.receivedBytes)
    this.#sent.add(labels, call.sentBytes)
  }

  /** As few as the counters have values: methods that exist, and statuses. */
  #once(key: string, labels: Labels): Labels {
    const known = this.#labels.get(key)
    if (!known) this.#labels.set(key, labels)
    return known ?? labels
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
