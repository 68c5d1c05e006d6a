import { grpcBlobService } from '../blobs/grpc.ts'
import { verifyingBlobService } from '../blobs/verifying.ts'
import { grpcDirectoryService } from '../directories/grpc.ts'
import { verifyingDirectoryService } from '../directories/verifying.ts'
import { type GrpcChannel, openGrpcChannel } from '../grpc-channel.ts'
import type { GrpcPolicy } from '../grpc-policy.ts'
import type { Castore } from './stores.ts'

/** There is another way to the contents, so nobody waits for a peer that may not be one. */
const IMPATIENT: Partial<GrpcPolicy> = { retryMs: [], returnMs: 0, patienceMs: 10_000, resumptions: 1 }

/** The castore services that may stand beside binary caches, each connected to once. */
export class CastorePeers implements Disposable {
  readonly #channels = new Map<string, Promise<GrpcChannel>>()

  /** `origin`: `http://host:port` or `https://host:port`, where gRPC is spoken as well. */
  async at(origin: string): Promise<Castore> {
    const address = `grpc+${origin}`
    const known = this.#channels.get(address)
    const opening = known ?? openGrpcChannel(address, IMPATIENT)
    this.#channels.set(address, opening)
    const channel = await opening
    return {
      blobs: verifyingBlobService(grpcBlobService(channel), address),
      directories: verifyingDirectoryService(grpcDirectoryService(channel), address),
    }
  }

  [Symbol.dispose](): void {
    for (const opening of this.#channels.values())
      void opening.then(
        (channel) => channel.close(),
        () => {}, // it was never open
      )
  }
}
