import { channel } from 'node:diagnostics_channel'
import type { StatsSnapshot } from '../mount/fuse/stats.ts'
import { LOCAL_CHUNK_NOW_BYTES_MAX } from '../support/limits.ts'

/** As compiled-code.ts has it, which is loaded apart. */
const USES_CHANNEL = 'tvix-store:uses'

/** Requests that have code of their own, a bit for each: what stands here keeps its place. */
const REQUESTS = ['LOOKUP', 'READ', 'READDIRPLUS', 'READDIR', 'READLINK', 'GETXATTR', 'LISTXATTR', 'IOCTL']
/** Small files are read by other code than large ones. */
const LARGE_READS = 2 ** REQUESTS.length

/** Tells what a mount was used for, so that a mount that is used in another way than the first ones has its code kept, too. */
export function tellUses({ requests, bytesRead }: StatsSnapshot): void {
  const isLarge = bytesRead > (requests['READ'] ?? 0) * LOCAL_CHUNK_NOW_BYTES_MAX
  const bits = REQUESTS.map((name, bit) => (requests[name] ? 2 ** bit : 0))
  channel(USES_CHANNEL).publish(bits.reduce((uses, bit) => uses | bit, isLarge ? LARGE_READS : 0))
}
