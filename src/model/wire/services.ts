/** The three services that both families serve. */

import { Directory } from '../castore/directory.ts'
import { decodeAnonymousNode, encodeNodeMessage } from '../castore/directory-codec.ts'
import type { Node } from '../castore/node.ts'
import type { PathInfo } from '../nix/path-info.ts'
import {
  blobChunk,
  type CalculateNarResponse,
  calculateNarResponse,
  type GetDirectoryRequest,
  getDirectoryRequest,
  getPathInfoRequest,
  listPathInfoRequest,
  putBlobResponse,
  putDirectoryResponse,
  readBlobRequest,
  type StatBlobRequest,
  statBlobRequest,
  statBlobResponse,
  type WireChunk,
} from './messages.ts'
import { pathInfoCodec } from './path-info.ts'
import type { Codec, Method, RpcService } from './rpc.ts'

const directoryCodec: Codec<Directory> = {
  encode: (directory) => directory.encoded,
  decode: (bytes) => Directory.decode(bytes),
}

const NO_NAME = new Uint8Array(0)

const anonymousNodeCodec: Codec<Node> = {
  encode: (node) => encodeNodeMessage(NO_NAME, node),
  decode: decodeAnonymousNode,
}

function unary<Q, R>(request: Codec<Q>, response: Codec<R>): Method<'unary', Q, R> {
  return { kind: 'unary', request, response }
}

function serverStream<Q, R>(request: Codec<Q>, response: Codec<R>): Method<'server-stream', Q, R> {
  return { kind: 'server-stream', request, response }
}

function clientStream<Q, R>(request: Codec<Q>, response: Codec<R>): Method<'client-stream', Q, R> {
  return { kind: 'client-stream', request, response }
}

/** spec §1.3 */
export const blobRpc = {
  name: 'castore.v1.BlobService',
  methods: {
    Stat: unary<StatBlobRequest, readonly WireChunk[]>(statBlobRequest, statBlobResponse),
    Read: serverStream(readBlobRequest, blobChunk),
    Put: clientStream(blobChunk, putBlobResponse),
  },
} as const satisfies RpcService

/** spec §1.4 */
export const directoryRpc = {
  name: 'castore.v1.DirectoryService',
  methods: {
    Get: serverStream<GetDirectoryRequest, Directory>(getDirectoryRequest, directoryCodec),
    Put: clientStream(directoryCodec, putDirectoryResponse),
  },
} as const satisfies RpcService

/** spec §1.6 */
export const pathInfoRpc = {
  name: 'store.v1.PathInfoService',
  methods: {
    Get: unary(getPathInfoRequest, pathInfoCodec),
    Put: {
      ...unary<PathInfo, PathInfo>(pathInfoCodec, pathInfoCodec),
      describeFault: (fault: string) => `Invalid path info: ${fault}`,
    },
    CalculateNAR: {
      ...unary<Node, CalculateNarResponse>(anonymousNodeCodec, calculateNarResponse),
      describeFault: () => 'invalid root node',
    },
    List: serverStream(listPathInfoRequest, pathInfoCodec),
  },
} as const satisfies RpcService
