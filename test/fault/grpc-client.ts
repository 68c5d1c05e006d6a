import { Digest } from '../../src/model/castore/digest.ts'
import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import type { BlobService, BlobStream } from '../../src/services/blobs/interface.ts'
import { verifyingBlobService } from '../../src/services/blobs/verifying.ts'
import { grpcDirectoryService } from '../../src/services/directories/grpc.ts'
import type { DirectoryService } from '../../src/services/directories/interface.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { type GrpcChannel, openGrpcChannel } from '../../src/services/grpc-channel.ts'
import type { GrpcPolicy } from '../../src/services/grpc-policy.ts'
import { grpcPathInfoService } from '../../src/services/pathinfos/grpc.ts'
import type { NarCalculation, PathInfoService } from '../../src/services/pathinfos/interface.ts'
import { verifyingPathInfoService } from '../../src/services/pathinfos/verifying.ts'
import { concatBytes } from '../../src/support/bytes.ts'
import { type ErrorCode, StoreError } from '../../src/support/errors.ts'
import { collect } from '../support/collect.ts'

/** A client as products stack it, with less patience. */
export interface Client extends Disposable {
  readonly channel: GrpcChannel
  readonly blobs: BlobService
  readonly directories: DirectoryService
  readonly pathInfos: PathInfoService
  readonly narCalculation: NarCalculation
}

/** Where silence is what is tested; everything else has time enough on a busy machine. */
export const SHORT_PATIENCE_MS = 300
export const RETRIES = 3
export const RESUMPTIONS = 4

/** No call may take longer, whatever its peer does. */
export const HANG_MS = 15_000

const POLICY: Partial<GrpcPolicy> = {
  patienceMs: 5_000,
  retryMs: [5, 10, 20],
  returnMs: 0,
  circuitMs: 100,
  resumptions: RESUMPTIONS,
}

export async function openClient(address: string, policy: Partial<GrpcPolicy> = {}): Promise<Client> {
  const channel = await openGrpcChannel(address, { ...POLICY, ...policy })
  const pathInfos = grpcPathInfoService(channel)
  return {
    channel,
    blobs: verifyingBlobService(grpcBlobService(channel), 'the peer'),
    directories: verifyingDirectoryService(grpcDirectoryService(channel), 'the peer'),
    pathInfos: verifyingPathInfoService(pathInfos, 'the peer'),
    narCalculation: pathInfos,
    [Symbol.dispose]: () => channel.close(),
  }
}

/** What a call came to. What is no StoreError, and a call that does not end, fails the test. */
export type Outcome<T> = { readonly value: T } | { readonly code: ErrorCode; readonly message: string }

export async function outcome<T>(work: Promise<T>): Promise<Outcome<T>> {
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it hangs for ${HANG_MS} ms`)), HANG_MS)
  })
  try {
    return { value: await Promise.race([work, hang]) }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    return { code: error.code, message: error.message }
  } finally {
    clearTimeout(timer)
  }
}

/** What stands for bytes where tests compare them; a difference of 3,000 lines helps nobody. */
export function seal(bytes: Uint8Array): string {
  return `${bytes.length} bytes ${Digest.of(bytes)}`
}

/** All bytes of a stream, sealed; `undefined` for an absent blob. */
export async function drain(opening: Promise<BlobStream | undefined>): Promise<string | undefined> {
  const stream = await opening
  return stream && seal(concatBytes(await collect(stream)))
}
