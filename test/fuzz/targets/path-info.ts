/** PathInfo: whatever is taken means the same to the generated code, and has one canonical encoding. */
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { decodePathInfo, encodePathInfo } from '../../../src/model/wire/path-info.ts'
import { equalBytes } from '../../../src/support/bytes.ts'
import { PathInfoSchema } from '../../golden/generated/tvix/store/protos/pathinfo_pb.js'
import { vectors } from '../../support/vectors.ts'
import { check, refusal, type Target } from '../target.ts'
import { messagesIn, PROTOBUF_WORDS } from './protobuf.ts'

function run(input: Uint8Array): string {
  const outcome = refusal(() => decodePathInfo(input))
  if ('words' in outcome) return outcome.place
  const encoded = encodePathInfo(outcome.value)
  const generated = toBinary(PathInfoSchema, fromBinary(PathInfoSchema, input), { writeUnknownFields: false })
  check(equalBytes(encoded, generated), 'both decoders read one path info')
  check(equalBytes(encodePathInfo(decodePathInfo(encoded)), encoded), 'the canonical encoding is its own')
  const { node, references, signatures, deriver, ca } = outcome.value
  return `${node.kind} ${Math.min(3, references.length)} ${Math.min(3, signatures.length)} ${deriver !== undefined} ${ca?.kind} ${ca?.algorithm}`
}

export const pathInfo: Target = { run, words: PROTOBUF_WORDS, seeds: () => messagesIn(vectors.pathinfo) }
