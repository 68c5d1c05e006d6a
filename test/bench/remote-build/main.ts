/** `scripts/demo-remote-build`: a build on a mounted toolchain that is far away, in figures. `--json`: for programs. */

import { remoteBuild } from './remote-build.ts'
import { printRemoteBuild } from './report.ts'
import { whyNoRemoteBuild } from './requirements.ts'

const isJson = process.argv.includes('--json')
const reason = whyNoRemoteBuild()
if (reason) {
  console.error(`demo-remote-build: ${reason}`)
  process.exit(69)
}
const result = await remoteBuild((line) => console.error(line))
if (isJson) console.log(JSON.stringify(result))
else printRemoteBuild(result)
process.exit()
