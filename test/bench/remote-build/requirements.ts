import { spawnSync } from 'node:child_process'
import { whyNoMounts } from '../../support/mount.ts'

const PROGRAMS = ['ip', 'unshare', 'nsenter', 'chroot', 'dpkg-query', 'gcc', 'make']

/** Why it cannot be shown on this machine, or undefined. */
export function whyNoRemoteBuild(): string | undefined {
  const missing = PROGRAMS.filter((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0)
  if (missing.length > 0) return `it needs the programs ${missing.join(', ')}, of a Debian system`
  return whyNoMounts()
}
