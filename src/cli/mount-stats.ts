import type { StatsSnapshot } from '../mount/fuse/stats.ts'
import { formatMountStats, type MountStats, mountStatsJson } from '../mount/tree/stats.ts'

export type StatsFormat = 'text' | 'json'

/** What the kernel asked of the mount and what the mount asked of the store; ends with a line feed. */
export function renderStats(format: StatsFormat, kernel: StatsSnapshot, store: MountStats): string {
  if (format === 'json') return `${JSON.stringify({ kernel, store: mountStatsJson(store) })}\n`
  return [
    `from the kernel: ${counts(kernel.requests)}; ${kernel.bytesRead} bytes read`,
    `errors: ${counts(kernel.errors)}`,
    `pushed to the kernel: ${kernel.filled.files} files, ${kernel.filled.bytes} bytes; ${kernel.filled.failed} failed`,
    formatMountStats(store),
    '',
  ].join('\n')
}

function counts(named: Readonly<Record<string, number>>): string {
  const parts = Object.entries(named).map(([name, count]) => `${count} ${name}`)
  return parts.length === 0 ? 'none' : parts.join(', ')
}
