import { Directory, type SizeFormula } from '../../model/castore/directory.ts'
import type { Node } from '../../model/castore/node.ts'
import { pathComponent } from '../../model/castore/path-component.ts'
import { symlinkTarget } from '../../model/castore/symlink-target.ts'
import { utf8 } from '../../support/bytes.ts'
import type { Call } from '../../support/call.ts'
import { type ErrorCode, StoreError } from '../../support/errors.ts'
import type { GrpcChannel } from '../grpc-channel.ts'
import { retryUnavailable } from '../grpc-rpc.ts'
import { grpcDirectoryService } from './grpc.ts'

/** What servers say of directories that they do not like (spec §2.3); other failures tell nothing about sizes. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['internal', 'invalid-argument', 'precondition', 'corrupt'])

/**
 * By which formula the sizes in our uploads must be, for this peer to take them (spec §1.9): 2n + Σ if it takes
 * both. It is asked with an upload of two tiny directories, always the same ones; what stays behind is at most
 * these, without a path info, so that nothing lists or mounts them. Where the answer tells nothing it is 2n + Σ, and
 * the upload itself will fail with the reason. Throws when the peer is not there.
 */
export async function askSizeFormula(channel: GrpcChannel, call?: Call): Promise<SizeFormula> {
  const verdict = await offer(channel, 'rust', call)
  if (verdict !== 'refused') return 'rust'
  return (await offer(channel, 'documented', call)) === 'taken' ? 'documented' : 'rust'
}

const CHILD = makeDirectory('link', { kind: 'symlink', target: symlinkTarget(utf8('.')) })

function makeDirectory(name: string, node: Node): Directory {
  return Directory.from([{ name: pathComponent(utf8(name)), node }])
}

async function offer(
  channel: GrpcChannel,
  formula: SizeFormula,
  call: Call | undefined,
): Promise<'taken' | 'refused' | 'unknown'> {
  const parent = makeDirectory('child', {
    kind: 'directory',
    digest: CHILD.digest,
    size: CHILD.size(formula),
  })
  // To store it again changes nothing, so it may be repeated like a read.
  const upload = async () => {
    const putter = grpcDirectoryService(channel).startPutter(call)
    for (const directory of [CHILD, parent]) await putter.put(directory)
    await putter.close()
  }
  try {
    await retryUnavailable(channel, upload, call)
    return 'taken'
  } catch (error) {
    const { code } = StoreError.from(error)
    if (code === 'unavailable' || code === 'deadline' || code === 'cancelled') throw error
    return REFUSALS.has(code) ? 'refused' : 'unknown'
  }
}
