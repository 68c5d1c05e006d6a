import type { directoryRpc } from '../../model/wire/services.ts'
import type { DirectoryService } from '../../services/directories/interface.ts'
import { StoreError } from '../../support/errors.ts'
import { AbsenceError } from './absence.ts'
import type { Handlers } from './method-adapter.ts'
import { requireDigest } from './request-digest.ts'

/** spec §2.3 */
export function directoryHandlers(directories: DirectoryService): Handlers<typeof directoryRpc> {
  return {
    async *Get(request, call) {
      if (!request.digest) throw new StoreError('invalid-argument', 'invalid by_what')
      const digest = requireDigest(request.digest)
      if (request.recursive) {
        yield* directories.getRecursive(digest, call)
        return
      }
      const directory = await directories.get(digest, call)
      if (directory) {
        yield directory
        return
      }
      // Clients of the newer family take NOT_FOUND for absence only while they read the stream (spec §1.13).
      call.sendHeaders()
      throw new AbsenceError(`directory ${digest} not found`)
    },

    async Put(messages, call) {
      const putter = directories.startPutter(call)
      for await (const message of messages) for (const directory of message) await putter.put(directory)
      return putter.close()
    },
  }
}
