import type { Digest } from '../../model/castore/digest.ts'
import type { Directory } from '../../model/castore/directory.ts'
import { directoryRpc } from '../../model/wire/services.ts'
import type { Call } from '../../support/call.ts'
import { StoreError } from '../../support/errors.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { absentIfNotFound, callServerStream, retryUnavailable, Upload } from '../grpc-rpc.ts'
import type { DirectoryPutter, DirectoryService } from './interface.ts'

/**
 * The directories of a gRPC peer (spec §2.6). What it sends decodes but is not verified further here: digests,
 * order and completeness are checked by the verifying layer.
 */
export function grpcDirectoryService(channel: GrpcChannel): DirectoryService {
  const open = (digest: Digest, recursive: boolean, call?: Call) =>
    callServerStream(channel, directoryRpc, 'Get', { digest: digest.bytes, recursive }, call)
  const startPutter = (call?: Call) => new GrpcDirectoryPutter(channel, call)
  return {
    get(digest: Digest, call?: Call): Promise<Directory | undefined> {
      return retryUnavailable(
        channel,
        () => absentIfNotFound(getOne(channel, digest, open(digest, false, call))),
        call,
      )
    },

    async *getRecursive(digest: Digest, call?: Call): AsyncGenerator<Directory> {
      // Where the root is absent most peers send nothing (spec §2.3), and others might say so.
      const found = await retryUnavailable(channel, () => absentIfNotFound(open(digest, true, call)), call)
      if (found) yield* found
    },

    /** The peer refuses a directory whose sub-directories are not part of the same upload (spec §2.3). */
    async put(directory: Directory, call?: Call): Promise<Digest> {
      const putter = startPutter(call)
      await putter.put(directory)
      return putter.close()
    },

    startPutter,
  }
}

async function getOne(
  channel: GrpcChannel,
  digest: Digest,
  opening: Promise<AsyncIterable<Directory>>,
): Promise<Directory> {
  for await (const directory of await opening) return directory
  // Absence has a status of its own (spec §2.3); nothing at all is no answer.
  throw new StoreError('corrupt', `${channel.address}: asked for directory ${digest}, but nothing was sent`)
}

class GrpcDirectoryPutter implements DirectoryPutter {
  readonly #upload: Upload<Directory, Digest>
  #sent = false

  constructor(channel: GrpcChannel, call: Call | undefined) {
    this.#upload = new Upload(() => channel.start(directoryRpc, 'Put', call), directoryRpc.methods.Put)
  }

  async put(directory: Directory): Promise<void> {
    this.#sent = true
    await this.#upload.send(directory)
  }

  async close(): Promise<Digest> {
    // Servers disagree about the status of an empty upload (spec §2.3); it needs no server to be refused.
    if (!this.#sent) throw new StoreError('invalid-argument', 'got no directories')
    return this.#upload.finish()
  }
}
