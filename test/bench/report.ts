/** One line of a comparison: seconds of the baseline and of ours for the same work. */
export interface Row {
  readonly work: string
  readonly baseline: number
  readonly ours: number
  /** Shown behind the figures: rates, counts. */
  readonly note?: string
}

/** Prints a Markdown table; a ratio below 1 means that ours was faster. */
export function printTable(title: string, baselineName: string, rows: readonly Row[]): void {
  console.log(`\n${title}\n`)
  console.log(`| work | ${baselineName} | ours | ours / ${baselineName} | |`)
  console.log('|---|---|---|---|---|')
  for (const { work, baseline, ours, note } of rows)
    console.log(
      `| ${work} | ${seconds(baseline)} | ${seconds(ours)} | ${(ours / baseline).toFixed(2)} | ${note ?? ''} |`,
    )
}

function seconds(value: number): string {
  return value < 0.1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(3)} s`
}

/** Seconds that `work` takes. */
export async function measure(work: () => void | Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return (performance.now() - start) / 1000
}

/** The median of several runs, for work that can be repeated. */
export async function measureRepeated(runs: number, work: () => void | Promise<void>): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < runs; i++) times.push(await measure(work))
  return median(times)
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}
