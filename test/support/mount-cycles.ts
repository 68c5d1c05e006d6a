/**
 * A process that mounts a store again and again, lets somebody read in it, and unmounts:
 * `node --expose-gc mount-cycles.ts STATE TARGET CYCLES [leak]`. Prints what it holds after the first cycles, and at the end.
 */
import { execFile } from 'node:child_process'
import { openSync, readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { mountTree } from '../../src/mount/fuse/mount.ts'
import { createCastoreTree } from '../../src/mount/tree/castore-tree.ts'
import { openStores } from '../../src/services/composition/open-stores.ts'
import { pathInfoRootNodes } from '../../src/services/pathinfos/root-nodes.ts'
import { silentLogger } from '../../src/support/log.ts'
import { localStoreFlags } from './cli.ts'
import type { Held } from './held.ts'

/** Until then libraries load, pools start and code is compiled. */
const WARM_UP = 20

const [state = '', target = '', cycles = '', leak] = process.argv.slice(2)
const flags = localStoreFlags(state).map((flag) => flag.slice(flag.indexOf('=') + 1))
const addresses = { blobs: flags[0]!, directories: flags[1]!, pathInfos: flags[2]! }

async function cycle(): Promise<void> {
  await using stores = await openStores(addresses)
  const rootNodes = pathInfoRootNodes(stores.pathInfos)
  const { blobs, directories, localDirectory } = stores
  const services = { blobs, directories, localDirectory, rootNodes }
  const tree = createCastoreTree({ ...services, listRoot: true, logger: silentLogger })
  const mount = await mountTree({
    tree,
    target,
    allowOther: true,
    uidGid: { uid: 0, gid: 0 },
    showXattr: true,
    logger: silentLogger,
    localChunks: stores.localChunks,
  })
  await promisify(execFile)('sh', ['-c', 'find "$0" -type f -exec cat {} + | wc -c', target])
  await mount.unmount()
  tree.close()
  if (leak) openSync('/dev/null', 'r')
}

async function held(): Promise<Held> {
  // What was closed this moment may still be on its way.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    globalThis.gc?.()
  }
  const { heapUsed, external } = process.memoryUsage()
  const mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
    mounts: mountinfo.split('\n').length,
    kilobytes: Math.round((heapUsed + external) / 1024),
  }
}

for (let i = 0; i < WARM_UP; i++) await cycle()
console.log(JSON.stringify(await held()))
for (let i = WARM_UP; i < Number(cycles); i++) await cycle()
console.log(JSON.stringify(await held()))
