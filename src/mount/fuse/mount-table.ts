import { readFileSync } from 'node:fs'

/** One line of /proc/self/mountinfo (proc_pid_mountinfo(5)), as far as it matters here. */
export interface MountEntry {
  /** `major:minor` of the filesystem, the name of its folder under /sys/class/bdi. */
  readonly device: string
  readonly target: string
  readonly type: string
  readonly source: string
}

/** What is mounted in our namespace. Reading it asks no filesystem, so it answers at once, whatever hangs. */
export function readMountTable(): MountEntry[] {
  return parseMountTable(readFileSync('/proc/self/mountinfo', 'utf8'))
}

export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    // A variable number of optional fields ends with a lone hyphen.
    const [place, filesystem] = line.split(' - ')
    const [, , device, , target] = place?.split(' ') ?? []
    const [type, source] = filesystem?.split(' ') ?? []
    if (!device || !target || !type || source === undefined) continue
    entries.push({ device, target: unescapeOctal(target), type, source: unescapeOctal(source) })
  }
  return entries
}

/** What lies on top at `target`: the last mount hides the ones before it. */
export function topMount(entries: readonly MountEntry[], target: string): MountEntry | undefined {
  return entries.findLast((entry) => entry.target === target)
}

/** The kernel writes space, tab, newline and backslash as `\040` and so on. */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  )
}
