/**
 * `npm run bench -- NAME`: measures ours and its peers side by side, in one run, and prints ratios. Figures in
 * docs/benchmarks.md come from here. Timing has no place in tests; tests have no place here.
 */
import { benchCopy } from './copy.ts'
import { benchGrpc } from './grpc.ts'
import { benchMount } from './mount/main.ts'
import { benchNar } from './nar.ts'
import { benchPages, takeScreenshots } from './pages.ts'
import { benchRemoteBuild } from './remote-build/bench.ts'
import { benchStore } from './store.ts'
import { benchVirtiofs } from './virtiofs.ts'

const BENCHES: Record<string, () => Promise<void>> = {
  copy: benchCopy,
  grpc: benchGrpc,
  mount: benchMount,
  nar: benchNar,
  pages: benchPages,
  'remote-build': benchRemoteBuild,
  screenshots: takeScreenshots,
  store: benchStore,
  virtiofs: benchVirtiofs,
}

const name = process.argv[2] ?? ''
const bench = BENCHES[name]
if (!bench) {
  console.error(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')}`)
  process.exit(64)
}
await bench()
