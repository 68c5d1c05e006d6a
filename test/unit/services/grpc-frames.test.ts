import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameDecoder } from '../../../src/services/grpc-frames.ts'
import { GRPC_FRAME_PREALLOCATED_BYTES_MAX } from '../../../src/support/limits.ts'

function frame(body: Uint8Array, compressed = 0): Buffer {
  const head = Buffer.from([compressed, 0, 0, 0, 0])
  head.writeUInt32BE(body.length, 1)
  return Buffer.concat([head, body])
}

function pushInPieces(decoder: FrameDecoder, bytes: Buffer, pieceBytes: number): Buffer[] {
  const messages: Buffer[] = []
  for (let at = 0; at < bytes.length; at += pieceBytes)
    messages.push(...decoder.push(bytes.subarray(at, at + pieceBytes)))
  return messages
}

describe('FrameDecoder', () => {
  test('gives the same messages however they are cut into pieces', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 })
    fc.assert(
      fc.property(bodies, fc.integer({ min: 1, max: 60 }), (list, pieceBytes) => {
        const frames = list.map((body, i) => frame(body, i % 2))
        expect(pushInPieces(new FrameDecoder(40), Buffer.concat(frames), pieceBytes)).toEqual(frames)
      }),
    )
  })

  test('messages above what is taken at once grow to their size', () => {
    const body = Buffer.alloc(5 * GRPC_FRAME_PREALLOCATED_BYTES_MAX + 3, 'ab')
    const [message] = pushInPieces(new FrameDecoder(-1), frame(body), 16_384)
    expect(message!.equals(frame(body))).toBe(true)
  })

  test('messages do not share memory with what came in', () => {
    const bytes = frame(Buffer.from('data'))
    const [message] = new FrameDecoder(-1).push(bytes)
    bytes.fill(0)
    expect(message!.subarray(5).toString()).toBe('data')
  })

  test('the limit itself is taken; one byte more is told as soon as it is announced', () => {
    expect(new FrameDecoder(4).push(frame(Buffer.from('data')))).toHaveLength(1)
    expect(() => new FrameDecoder(4).push(frame(Buffer.from('datum')).subarray(0, 5))).toThrow(
      'a message of 5 bytes is above the limit of 4 bytes a message',
    )
  })
})
