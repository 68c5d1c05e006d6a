import type { Node } from '../../model/castore/node.ts'
import type { PathInfo } from '../../model/nix/path-info.ts'
import { pathInfoRpc } from '../../model/wire/services.ts'
import type { Call } from '../../support/call.ts'
import { GRPC_CALCULATE_NAR_MS_MAX } from '../../support/limits.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { absentIfNotFound, callServerStream, callUnary, retryUnavailable } from '../grpc-rpc.ts'
import type { NarCalculation, NarDigest, PathInfoService } from './interface.ts'

/** The path infos of a gRPC peer, which also calculates NARs for us (spec §2.6). */
export function grpcPathInfoService(channel: GrpcChannel): PathInfoService & NarCalculation {
  return {
    get(outputHash: Uint8Array, call?: Call): Promise<PathInfo | undefined> {
      const get = () => absentIfNotFound(callUnary(channel, pathInfoRpc, 'Get', outputHash, call))
      return retryUnavailable(channel, get, call)
    },

    put(pathInfo: PathInfo, call?: Call): Promise<PathInfo> {
      return callUnary(channel, pathInfoRpc, 'Put', pathInfo, call)
    },

    async *list(call?: Call): AsyncGenerator<PathInfo> {
      const open = () => callServerStream(channel, pathInfoRpc, 'List', undefined, call)
      yield* await retryUnavailable(channel, open, call)
    },

    calculateNar(node: Node, call?: Call): Promise<NarDigest> {
      const options = { ...call, patienceMs: GRPC_CALCULATE_NAR_MS_MAX }
      const calculate = () => callUnary(channel, pathInfoRpc, 'CalculateNAR', node, options)
      return retryUnavailable(channel, calculate, call)
    },
  }
}
