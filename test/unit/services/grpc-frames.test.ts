import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameDecoder } from '../../../src/services/grpc-frames.ts'
import { PieceDecoder } from '../../../src/services/grpc-pieces.ts'
import { GRPC_FRAME_PREALLOCATED_BYTES_MAX, GRPC_PIECE_BYTES_MIN } from '../../../src/support/limits.ts'

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

describe('PieceDecoder', () => {
  function take(bytes: Buffer, pieceBytes: number): Buffer[][] {
    const decoder = new PieceDecoder(-1)
    const messages: Buffer[][] = []
    for (let at = 0; at < bytes.length; at += pieceBytes)
      for (const message of decoder.write(bytes.subarray(at, at + pieceBytes)))
        messages.push([...decoder.take(message.subarray(5))])
    return messages
  }

  test('gives the same messages however they are cut, those that are compressed through grpc-js', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 3 * GRPC_PIECE_BYTES_MIN, size: 'max' }), {
      maxLength: 5,
    })
    fc.assert(
      fc.property(bodies, fc.integer({ min: 500, max: 20_000 }), (list, pieceBytes) => {
        const frames = list.map((body, i) => frame(body, i % 2))
        const messages = take(Buffer.concat(frames), pieceBytes)
        expect(messages.map((pieces) => Buffer.concat(pieces))).toEqual(list.map((body) => Buffer.from(body)))
      }),
      { numRuns: 50 },
    )
  })

  test('hands on large pieces as they are and copies small ones together', () => {
    const body = Buffer.alloc(3 * GRPC_PIECE_BYTES_MIN, 7)
    const bytes = frame(body)
    const [large] = take(bytes, 2 * GRPC_PIECE_BYTES_MIN)
    expect(large!.map((piece) => piece.buffer === bytes.buffer)).toEqual([true, true])
    const [small] = take(bytes, 100)
    bytes.fill(0)
    expect(Buffer.concat(small!).equals(body)).toBe(true)
    expect(small!.length).toBeLessThanOrEqual(4)
  })

  test('tells of a message above the limit as soon as it is announced', () => {
    expect(() => new PieceDecoder(4).write(frame(Buffer.from('datum')).subarray(0, 5))).toThrow(
      'a message of 5 bytes is above the limit of 4 bytes a message',
    )
  })
})
