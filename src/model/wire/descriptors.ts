import { ProtoReader } from '../castore/proto.ts'
import { grpc, snix, tvix } from './generated/descriptors.js'
import type { Family } from './rpc.ts'

/** What can be described: the services of a family, or gRPC's own (health, and reflection itself). */
export type Described = Family | 'grpc'

const SETS: Readonly<Record<Described, string>> = { tvix, snix, grpc }

/**
 * The `.proto` files of one set, each an encoded google.protobuf.FileDescriptorProto under its original name.
 * Clients with no files of their own learn the services from these, by reflection.
 */
export function descriptorFiles(described: Described): Uint8Array[] {
  const files: Uint8Array[] = []
  const reader = new ProtoReader(Buffer.from(SETS[described], 'base64'))
  while (reader.next()) {
    if (reader.field === 1) files.push(reader.bytes())
    else reader.skip()
  }
  return files
}
