import { grpcToFilesSuites } from './grpc-to-files.ts'

grpcToFilesSuites('tvix')
