import { remoteBuild } from './remote-build.ts'
import { printRemoteBuild } from './report.ts'
import { whyNoRemoteBuild } from './requirements.ts'

export async function benchRemoteBuild(): Promise<void> {
  const reason = whyNoRemoteBuild()
  if (reason) throw new Error(reason)
  printRemoteBuild(await remoteBuild((line) => console.error(line)))
}
