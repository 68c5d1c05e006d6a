import type { StatsSnapshot } from '../mount/fuse/stats.ts'
import { formatMountStats, type MountStats, mountStatsJson } from '../mount/tree/stats.ts'
import type { SourceStats } from '../services/source-set.ts'

export type StatsFormat = 'text' | 'json'

/**
 * Tells on standard error what happened so far, in the format that is wanted: whenever the process gets SIGUSR1, and when
 * what this returns is called, unless nobody wanted it.
 */
export function reportStats(
  wanted: StatsFormat | undefined,
  kernel: { readonly stats: StatsSnapshot },
  tree: { readonly stats: MountStats },
  stores: { sources(): SourceStats },
): () => void {
  const report = (format: StatsFormat) =>
    process.stderr.write(renderStats(format, kernel.stats, tree.stats, stores.sources()))
  process.on('SIGUSR1', () => report(wanted ?? 'text'))
  return () => {
    if (wanted) report(wanted)
  }
}

/** What the kernel asked of the mount and what the mount asked of the store; ends with a line feed. */
export function renderStats(
  format: StatsFormat,
  kernel: StatsSnapshot,
  store: MountStats,
  sources: SourceStats,
): string {
  if (format === 'json') return `${JSON.stringify({ kernel, store: mountStatsJson(store), sources })}\n`
  const looked = kernel.lookedMs > 0 ? `; ${kernel.lookedMs} ms of looking for the next request` : ''
  return [
    `from the kernel: ${counts(kernel.requests)}; ${kernel.bytesRead} bytes read${looked}`,
    `errors: ${counts(kernel.errors)}`,
    `pushed to the kernel: ${kernel.filled.files} files, ${kernel.filled.bytes} bytes; ${kernel.filled.failed} failed`,
    formatMountStats(store),
    `failures that other sources made up for: ${counts(sources.failures)}; ${sources.hedges} questions went to a second one because the first was slow`,
    '',
  ].join('\n')
}

function counts(named: Readonly<Record<string, number>>): string {
  const parts = Object.entries(named).map(([name, count]) => `${count} ${name}`)
  return parts.length === 0 ? 'none' : parts.join(', ')
}
