import { formatBytes } from '../support/format.ts'
import { PROCESS_BYTES_MAX } from '../support/limits.ts'
import type { Logger } from '../support/log.ts'

/**
 * Says so when the control group allows less than what we keep below: the kernel ends the process under load then, in the middle of
 * everything, and of a mount only "Transport endpoint is not connected" is left. `limit` in bytes, 0 for none.
 */
export function warnOfMemoryLimit(logger: Logger, limit: number = process.constrainedMemory()): void {
  if (limit <= 0 || limit >= PROCESS_BYTES_MAX) return
  const needed = formatBytes(PROCESS_BYTES_MAX)
  logger.warn(
    { limit: formatBytes(limit) },
    `up to ${needed} of memory are needed under load, and with the limit of this control group the kernel may end the process: raise MemoryMax=`,
  )
}
