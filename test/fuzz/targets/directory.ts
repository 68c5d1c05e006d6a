/** Directory and Node, whose codec is written by hand: whatever it takes the generated one takes, and means the same by it. */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { Directory } from '../../../src/model/castore/directory.ts'
import { decodeNodeMessage, encodeNodeMessage } from '../../../src/model/castore/directory-codec.ts'
import { equalBytes } from '../../../src/support/bytes.ts'
import { DirectorySchema, NodeSchema } from '../../golden/generated/tvix/castore/protos/castore_pb.js'
import { vectors } from '../../support/vectors.ts'
import { check, refusal, type Target } from '../target.ts'
import { messagesIn, PROTOBUF_WORDS } from './protobuf.ts'

const WITHOUT_UNKNOWN = { writeUnknownFields: false }

function run(input: Uint8Array): string {
  const directory = refusal(() => Directory.decode(input))
  if ('value' in directory) {
    const { encoded } = directory.value
    check(
      equalBytes(encoded, toBinary(DirectorySchema, fromBinary(DirectorySchema, input), WITHOUT_UNKNOWN)),
      'both decoders read one directory',
    )
    check(equalBytes(Directory.decode(encoded).encoded, encoded), 'the canonical encoding is its own')
  }
  const node = refusal(() => decodeNodeMessage(input))
  if ('value' in node) {
    const encoded = encodeNodeMessage(node.value.name, node.value.node)
    check(
      equalBytes(encoded, toBinary(NodeSchema, fromBinary(NodeSchema, input), WITHOUT_UNKNOWN)),
      'both decoders read one node',
    )
  }
  const kinds = 'value' in directory ? new Set(directory.value.entries.map((entry) => entry.node.kind)) : []
  return `${'words' in directory ? directory.place : [...kinds].sort()}; ${'words' in node ? node.place : node.value.node.kind}`
}

export const directory: Target = {
  run,
  words: PROTOBUF_WORDS,
  seeds: () => messagesIn([vectors.directories, vectors.directory_messages]),
}
