/** `scripts/demo-remote-build`: it runs, and what it says makes sense. How fast it is, `npm run bench -- remote-build` tells. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { RemoteBuild } from '../bench/remote-build/remote-build.ts'
import { isSame } from '../bench/remote-build/report.ts'
import { whyNoRemoteBuild } from '../bench/remote-build/requirements.ts'
import { runOk } from '../support/cli.ts'

const reason = whyNoRemoteBuild()
const DEMO = join(import.meta.dirname, '../../scripts/demo-remote-build')

test.skipIf(reason)(
  reason ? `the remote build (skipped: ${reason})` : 'a build on a mount makes the same and fetches a part',
  async () => {
    const result = JSON.parse(await runOk(DEMO, ['--json'])) as RemoteBuild
    expect(Object.keys(result.local.outputs).filter((name) => name.endsWith('.o')).length).toBeGreaterThan(10)
    expect(isSame(result)).toBe(true)
    expect(result.packages).toBeGreaterThan(20)
    expect(result.copied.bytes).toBeGreaterThan(result.closureBytes * 0.9)
    for (const build of [result.remote, result.recorded, result.profiled]) {
      expect(build.bytes).toBeGreaterThan(0)
      expect(build.bytes).toBeLessThan(result.closureBytes / 2)
      expect(build.firstOutput).toBeLessThanOrEqual(build.total)
    }
    expect(result.local.bytes).toBeLessThan(100_000)
    // (negative control) one output that differs would be seen.
    const other = { ...result.remote, outputs: { ...result.remote.outputs, 'mdb.o': 'another' } }
    expect(isSame({ ...result, remote: other })).toBe(false)
  },
  240_000,
)
