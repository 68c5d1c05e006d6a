import { Counter, Gauge, Histogram, type Metric } from '../../support/metrics.ts'

/** Seconds: from a look into memory to the download of a large NAR. */
const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]

export interface EndedRequest {
  /** Only such as exist, so that strangers cannot make more of them. */
  readonly method: string
  /** `0` when the connection broke before there was one. */
  readonly status: number
  readonly seconds: number
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Whether the body went out to its end. */
  readonly isComplete: boolean
}

/** What is counted of the requests of a server. */
export class RequestMetrics {
  readonly #requests = new Counter('tvix_store_http_requests_total', 'Requests that have ended.')
  readonly #torn = new Counter('tvix_store_http_torn_replies_total', 'Replies that broke off in their body.')
  readonly #seconds = new Histogram(
    'tvix_store_http_request_seconds',
    'How long requests took, from their headers to the end of the answer.',
    SECONDS,
  )
  readonly #received = new Counter('tvix_store_http_received_bytes_total', 'Bytes of request bodies.')
  readonly #sent = new Counter('tvix_store_http_sent_bytes_total', 'Bytes of response bodies.')
  readonly #open = new Gauge('tvix_store_http_open_requests', 'Requests that run now.', () => this.#running)
  #running = 0

  get all(): readonly Metric[] {
    return [this.#requests, this.#torn, this.#seconds, this.#received, this.#sent, this.#open]
  }

  get running(): number {
    return this.#running
  }

  begun(): void {
    this.#running++
  }

  ended(request: EndedRequest): void {
    this.#running--
    const { method, status } = request
    this.#requests.add({ method, status: String(status) })
    if (!request.isComplete) this.#torn.add({ method })
    this.#seconds.observe({ method }, request.seconds)
    this.#received.add({ method }, request.receivedBytes)
    this.#sent.add({ method }, request.sentBytes)
  }
}
