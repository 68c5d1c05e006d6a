import type { Server } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import { type Described, descriptorFiles } from '../../model/wire/descriptors.ts'
import { FAMILIES } from '../../model/wire/rpc.ts'

/** Every server has these. */
const GRPC_SERVICES = [
  'grpc.health.v1.Health',
  'grpc.reflection.v1.ServerReflection',
  'grpc.reflection.v1alpha.ServerReflection',
]

type ReflectionInput = ConstructorParameters<typeof ReflectionService>[0]

/**
 * Answers clients that come without `.proto` files, in both versions of the reflection protocol. The package
 * reads nothing but the descriptors out of a definition; handing it ours keeps the names of the files, which
 * its loader would replace by names of its own. It lists what is `served`, by full
 * names, and what every server has; what the others look like it tells, too.
 */
export function addReflection(server: Server, served: readonly string[]): void {
  const definition = (described: Described) => ({
    format: 'Protocol Buffer 3 DescriptorProto',
    type: {},
    fileDescriptorProtos: descriptorFiles(described).map((file) => Buffer.from(file)),
  })
  const sets: readonly Described[] = [...FAMILIES, 'grpc']
  const files = Object.fromEntries(sets.map((described) => [described, definition(described)]))
  const services = [...served, ...GRPC_SERVICES]
  new ReflectionService(files as unknown as ReflectionInput, { services }).addToServer(server)
}
