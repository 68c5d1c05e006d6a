import { Opcode, opcodeName } from '../../../src/mount/fuse/protocol.ts'

interface Asked {
  readonly opcode: number
  readonly unique: bigint
  readonly head: number
  /** Bytes for the reply, its header among them. */
  readonly room: number
}

interface Answered {
  readonly id: number
  /** As the used ring has it. */
  readonly length: number
  readonly bytes: Buffer
}

const OUT_HEADER_BYTES = 16

/** Replies without an error that have one length, header included (include/uapi/linux/fuse.h). */
const FIXED: ReadonlyMap<number, number> = new Map([
  [Opcode.LOOKUP, 144],
  [Opcode.GETATTR, 120],
  [Opcode.OPEN, 32],
  [Opcode.OPENDIR, 32],
  [Opcode.STATFS, 96],
  [Opcode.RELEASE, 16],
  [Opcode.RELEASEDIR, 16],
  [Opcode.DESTROY, 16],
])

/**
 * Throws where Linux 7 would fail the request with EIO (virtio_fs_verify_response): the used length, the length in the
 * header, the room, the unique and the error must fit together, an error has no body, and what is fixed has its size.
 */
export function checkReply({ opcode, unique, head, room }: Asked, { id, length, bytes }: Answered): void {
  const check = (holds: boolean, promise: string) => {
    if (!holds) throw new Error(`reply to ${opcodeName(opcode)}: ${promise}`)
  }
  check(id === head, 'the used element names another request')
  if (room === 0) {
    check(length === 0, 'something was written where nothing could be')
    return
  }
  check(length <= room, 'the used length exceeds the buffers')
  check(length >= OUT_HEADER_BYTES, 'the used length does not even cover the header')
  check(bytes.readUInt32LE(0) === length, 'the length in the header is not the used length')
  check(bytes.readBigUInt64LE(8) === unique, 'the unique is that of another request')
  const error = bytes.readInt32LE(4)
  check(error > -512 && error <= 0, 'the error is out of range')
  if (error !== 0) check(length === OUT_HEADER_BYTES, 'an error has a body')
  else if (FIXED.has(opcode)) check(length === FIXED.get(opcode), 'a structure of fixed size has another')
}
