import { ProtoReader } from '../castore/proto.ts'
import { snix, tvix } from './generated/descriptors.js'
import type { Family } from './rpc.ts'

const SETS: Readonly<Record<Family, string>> = { tvix, snix }

/**
 * The `.proto` files of a family, each an encoded google.protobuf.FileDescriptorProto under its original name.
 * Clients with no files of their own learn the services from these, by reflection.
 */
export function descriptorFiles(family: Family): Uint8Array[] {
  const files: Uint8Array[] = []
  const reader = new ProtoReader(Buffer.from(SETS[family], 'base64'))
  while (reader.next()) {
    if (reader.field === 1) files.push(reader.bytes())
    else reader.skip()
  }
  return files
}
