import { grpcPathInfoService } from '../../src/services/pathinfos/grpc.ts'
import { overGrpc } from '../support/grpc-server.ts'
import { pathInfoServiceSuite } from './path-info-service.ts'

for (const transport of ['TCP', 'unix'] as const)
  pathInfoServiceSuite(
    `path info service: gRPC over ${transport}`,
    overGrpc(transport, ({ channel }) => grpcPathInfoService(channel)),
  )
