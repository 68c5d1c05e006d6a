import { grpcDirectoryService } from '../../src/services/directories/grpc.ts'
import { verifyingDirectoryService } from '../../src/services/directories/verifying.ts'
import { overGrpc, type TestServer } from '../support/grpc-server.ts'
import { directoryServiceSuite } from './directory-service.ts'

const makeDirectories = ({ channel }: TestServer) => grpcDirectoryService(channel)
const makeVerified = ({ channel }: TestServer) =>
  verifyingDirectoryService(grpcDirectoryService(channel), 'the peer')

// The peer takes a directory with sub-directories only together with these (spec §2.3).
const properties = { singlePuts: 'leaves' } as const

for (const transport of ['TCP', 'unix'] as const) {
  const name = `gRPC over ${transport}`
  directoryServiceSuite(`directory service: ${name}`, overGrpc(transport, makeDirectories), properties)
  directoryServiceSuite(
    `directory service: verifying over ${name}`,
    overGrpc(transport, makeVerified),
    properties,
  )
}
