import { grpcBlobService } from '../../src/services/blobs/grpc.ts'
import { objectStoreBlobService } from '../../src/services/blobs/object-store.ts'
import { memoryObjectStore } from '../../src/services/objects/memory.ts'
import { overGrpc, type TestServer } from '../support/grpc-server.ts'
import { blobServiceSuite } from './blob-service.ts'

const makeBlobs = ({ channel }: TestServer) => grpcBlobService(channel)

for (const transport of ['TCP', 'unix'] as const) {
  blobServiceSuite(`blob service: gRPC over ${transport} to memory`, overGrpc(transport, makeBlobs), {
    chunks: 'whole',
  })
  const chunked = overGrpc(transport, makeBlobs, () => ({
    blobs: objectStoreBlobService(memoryObjectStore()),
  }))
  blobServiceSuite(`blob service: gRPC over ${transport} to an object store`, chunked, {
    chunks: 'content-defined',
  })
}
