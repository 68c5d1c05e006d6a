/** The tables of this bench: ours against ext4 with a target, and the others against ours. */
import { median } from '../report.ts'

/** Times of one row, in seconds: of each side in the order of the heads. */
export interface ComparedRow {
  readonly work: string
  /** Ours may take so many times as long as the first side. */
  readonly target?: number
  readonly baseline: readonly number[]
  readonly ours: readonly number[]
  readonly rivals: readonly (readonly number[] | undefined)[]
  readonly note?: (seconds: number) => string
}

/**
 * Begins a table, and answers with what prints a row of it. The ratio of ours stands behind ours, and how many times as fast as a
 * rival ours was stands behind the rival.
 */
export function comparedTable(title: string, heads: readonly string[]): (row: ComparedRow) => void {
  const [baseline, ours, ...rivals] = heads
  console.log(`\n${title}\n`)
  console.log(
    `| work | ${baseline} | ${ours} | ratio | target | ${rivals.map((name) => `${name} | |`).join(' ')}`,
  )
  console.log(`|---|---|---|---|---|${rivals.map(() => '---|---|').join('')}`)
  return (row) => {
    const [base, own] = [median(row.baseline), median(row.ours)]
    const note = row.note ? ` (${row.note(own)})` : ''
    const others = row.rivals.map((times) =>
      times ? `${seconds(median(times))} | ${(median(times) / own).toFixed(1)} × |` : '– | |',
    )
    const target = row.target === undefined ? '' : `≤ ${row.target}`
    console.log(
      `| ${row.work} | ${seconds(base)} | ${seconds(own)}${note} | ${(own / base).toFixed(2)} | ${target} | ${others.join(' ')}`,
    )
  }
}

export function seconds(value: number): string {
  return value < 0.1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`
}
