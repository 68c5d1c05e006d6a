import type { Server } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import { descriptorFiles } from '../../model/wire/descriptors.ts'
import { FAMILIES, type Family } from '../../model/wire/rpc.ts'

type ReflectionInput = ConstructorParameters<typeof ReflectionService>[0]

/**
 * Answers clients that come without `.proto` files, in both versions of the reflection protocol. The package
 * reads nothing but the descriptors out of a definition; handing it ours keeps the names of the files, which
 * its loader would replace by names of its own.
 */
export function addReflection(server: Server): void {
  const definition = (family: Family) => ({
    format: 'Protocol Buffer 3 DescriptorProto',
    type: {},
    fileDescriptorProtos: descriptorFiles(family).map((file) => Buffer.from(file)),
  })
  const files = Object.fromEntries(FAMILIES.map((family) => [family, definition(family)]))
  new ReflectionService(files as unknown as ReflectionInput).addToServer(server)
}
