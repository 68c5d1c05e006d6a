/** Counters and histograms in the text format that Prometheus reads (exposition format 0.0.4). */

export type Labels = Readonly<Record<string, string>>

export interface Metric {
  /** HELP, TYPE and one line for each value. */
  render(): string
}

export function renderMetrics(metrics: Iterable<Metric>): string {
  let text = ''
  for (const metric of metrics) text += metric.render()
  return text
}

/** Only goes up. Keep the values that a label can have few: each combination is kept for ever. */
export class Counter implements Metric {
  readonly #head: string
  readonly #name: string
  readonly #values = new Map<string, number>()

  constructor(name: string, help: string) {
    this.#name = name
    this.#head = head(name, help, 'counter')
  }

  add(labels: Labels, amount = 1): void {
    const key = renderLabels(labels)
    this.#values.set(key, (this.#values.get(key) ?? 0) + amount)
  }

  render(): string {
    let text = this.#head
    for (const [labels, value] of this.#values) text += `${this.#name}{${labels}} ${value}\n`
    return text
  }
}

/** A value that is asked for when it is rendered. */
export class Gauge implements Metric {
  readonly #head: string
  readonly #name: string
  readonly #read: () => number

  constructor(name: string, help: string, read: () => number) {
    this.#name = name
    this.#head = head(name, help, 'gauge')
    this.#read = read
  }

  render(): string {
    return `${this.#head}${this.#name} ${this.#read()}\n`
  }
}

interface Series {
  readonly counts: number[]
  sum: number
}

export class Histogram implements Metric {
  readonly #head: string
  readonly #name: string
  readonly #bounds: readonly number[]
  readonly #series = new Map<string, Series>()

  /** `bounds`: the upper ends of the buckets, ascending; one without end comes on top. */
  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name
    this.#head = head(name, help, 'histogram')
    this.#bounds = bounds
  }

  observe(labels: Labels, value: number): void {
    const key = renderLabels(labels)
    let series = this.#series.get(key)
    if (!series) {
      series = { counts: new Array<number>(this.#bounds.length + 1).fill(0), sum: 0 }
      this.#series.set(key, series)
    }
    const bucket = this.#bounds.findIndex((bound) => value <= bound)
    series.counts[bucket === -1 ? this.#bounds.length : bucket]! += 1
    series.sum += value
  }

  render(): string {
    let text = this.#head
    for (const [labels, { counts, sum }] of this.#series) {
      let total = 0
      for (const [i, count] of counts.entries()) {
        total += count
        text += `${this.#name}_bucket{${labels},le="${this.#bounds[i] ?? '+Inf'}"} ${total}\n`
      }
      text += `${this.#name}_sum{${labels}} ${sum}\n${this.#name}_count{${labels}} ${total}\n`
    }
    return text
  }
}

function head(name: string, help: string, type: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`
}

const rendered = new WeakMap<Labels, string>()

/** Remembered by object: who counts often keeps its labels. */
function renderLabels(labels: Labels): string {
  let text = rendered.get(labels)
  if (text === undefined) {
    const one = ([name, value]: [string, string]) => `${name}="${escapeLabel(value)}"`
    text = Object.entries(labels).map(one).join(',')
    rendered.set(labels, text)
  }
  return text
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
