import { ERROR_TABLE, StoreError } from '../../support/errors.ts'
import { Counter, Histogram, type Labels, type Metric } from '../../support/metrics.ts'

/** Seconds: from a look into memory to the listing of a large store. */
const SECONDS = [0.0001, 0.0005, 0.0025, 0.01, 0.05, 0.25, 1, 5, 30]

/**
 * Where among the layers a service is called: `backend` is what an address names, `verified` what commands use, and in
 * between are the kinds of a composition file.
 */
export type LayerName = 'backend' | 'verified' | (string & {})

export interface MeasuredMethod {
  /** `blobs`, `directories`, `pathInfos` */
  readonly service: string
  readonly method: string
  readonly layer: LayerName
}

/** What is counted of the calls of services, layer by layer. The difference between two is what one does. */
export class LayerMetrics {
  readonly #calls = new Counter(
    'tvix_store_service_calls_total',
    'Calls of services that have ended, by layer; NOT_FOUND is an answer and no failure.',
  )
  readonly #seconds = new Histogram(
    'tvix_store_service_seconds',
    'How long calls of services took; of a stream until its reader was done with it.',
    SECONDS,
  )
  readonly #bytes = new Counter('tvix_store_service_bytes_total', 'Bytes of blobs that were read or written.')

  get all(): readonly Metric[] {
    return [this.#calls, this.#seconds, this.#bytes]
  }

  /** What counts the calls of one method. Make it once: it keeps the labels, which cost more than the counting. */
  method(labels: MeasuredMethod): MethodMetrics {
    return new MethodMetrics({ ...labels }, this.#calls, this.#seconds, this.#bytes)
  }
}

export class MethodMetrics {
  readonly #labels: Labels
  readonly #byStatus = new Map<string, Labels>()
  readonly #calls: Counter
  readonly #seconds: Histogram
  readonly #bytes: Counter

  constructor(labels: Labels, calls: Counter, seconds: Histogram, bytes: Counter) {
    this.#labels = labels
    this.#calls = calls
    this.#seconds = seconds
    this.#bytes = bytes
  }

  /** Runs and counts a call whose answer may be `undefined` for absence. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const running = this.start()
    try {
      const answer = await call()
      running.end(answer === undefined || answer === false ? 'NOT_FOUND' : 'OK')
      return answer
    } catch (error) {
      running.fail(error)
      throw error
    }
  }

  start(): RunningMeasure {
    return new RunningMeasure((name, seconds, bytes) => this.#ended(name, seconds, bytes))
  }

  #ended(name: string, seconds: number, bytes: number): void {
    let labels = this.#byStatus.get(name)
    if (!labels) {
      labels = { ...this.#labels, status: name }
      this.#byStatus.set(name, labels)
    }
    this.#calls.add(labels)
    this.#seconds.observe(this.#labels, seconds)
    if (bytes > 0) this.#bytes.add(this.#labels, bytes)
  }
}

/** A call that runs; only its first end counts. */
export class RunningMeasure {
  readonly #begun = performance.now()
  #report: ((name: string, seconds: number, bytes: number) => void) | undefined
  bytes = 0

  constructor(report: (name: string, seconds: number, bytes: number) => void) {
    this.#report = report
  }

  /** `name`: of a gRPC status. */
  end(name: 'OK' | 'NOT_FOUND' | (string & {})): void {
    this.#report?.(name, (performance.now() - this.#begun) / 1000, this.bytes)
    this.#report = undefined
  }

  fail(error: unknown): void {
    this.end(statusName(ERROR_TABLE[StoreError.from(error).code].grpc))
  }
}

/** By number (grpc/grpc doc/statuscodes.md). */
const STATUS_NAMES = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
]

function statusName(code: number): string {
  return STATUS_NAMES[code] ?? 'UNKNOWN'
}
