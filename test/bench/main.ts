/**
 * `npm run bench -- NAME`: measures ours and its peers side by side, in one run, and prints ratios. Figures in
 * docs/benchmarks.md come from here. Timing has no place in tests; tests have no place here.
 */
import { benchGrpc } from './grpc.ts'
import { benchMount } from './mount.ts'
import { benchNar } from './nar.ts'

const BENCHES: Record<string, () => Promise<void>> = { grpc: benchGrpc, mount: benchMount, nar: benchNar }

const name = process.argv[2] ?? ''
const bench = BENCHES[name]
if (!bench) {
  console.error(`usage: npm run bench -- ${Object.keys(BENCHES).join(' | ')}`)
  process.exit(64)
}
await bench()
