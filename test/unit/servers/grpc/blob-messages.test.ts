import { describe, expect, test } from 'vitest'
import { blobMessages } from '../../../../src/servers/grpc/blob-messages.ts'
import { GRPC_BLOB_MESSAGE_BYTES, GRPC_BLOB_PIECE_BYTES_MIN } from '../../../../src/support/limits.ts'

async function* from(sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let fill = 0
  for (const size of sizes) yield new Uint8Array(size).fill(fill++)
}

async function sizesOf(messages: AsyncIterable<Uint8Array>): Promise<number[]> {
  const sizes: number[] = []
  for await (const message of messages) sizes.push(message.length)
  return sizes
}

describe('the messages of a blob', () => {
  test.each<[string, number[], number[]]>([
    ['nothing', [], []],
    ['one small piece', [10], [10]],
    ['small pieces together', [10, 20, 30], [60]],
    [
      'small pieces up to the size of a message',
      Array(40).fill(GRPC_BLOB_PIECE_BYTES_MIN - 1),
      [16, 16, 8].map((pieces) => pieces * (GRPC_BLOB_PIECE_BYTES_MIN - 1)),
    ],
    ['small before large', [10, GRPC_BLOB_PIECE_BYTES_MIN, 20], [10, GRPC_BLOB_PIECE_BYTES_MIN, 20]],
    [
      'large ones cut',
      [2 * GRPC_BLOB_MESSAGE_BYTES + 5],
      [GRPC_BLOB_MESSAGE_BYTES, GRPC_BLOB_MESSAGE_BYTES, 5],
    ],
  ])('%s', async (_, pieces, messages) => {
    expect(await sizesOf(blobMessages(from(pieces)))).toEqual(messages)
  })

  test('have the bytes in order', async () => {
    const messages: Uint8Array[] = []
    for await (const message of blobMessages(from([2, 1, 70_000, 3, 1]))) messages.push(message)
    const expected = [0, 0, 1, ...Array(70_000).fill(2), 3, 3, 3, 4]
    expect(Buffer.concat(messages).equals(Buffer.from(expected))).toBe(true)
  })

  test('a piece is given back when its last message has left, which is when the next but one is asked for', async () => {
    const given: number[] = []
    const large = GRPC_BLOB_MESSAGE_BYTES + 1
    const pieces = from([large, large, 10, large])
    const messages = blobMessages({
      [Symbol.asyncIterator]: () => pieces,
      giveBack: (piece) => given.push(piece[0]!),
    })
    const seen: number[][] = []
    for await (const _ of messages) seen.push([...given])
    expect(seen).toEqual([[], [], [], [0], [0], [0], [0, 1]])
    expect(given).toEqual([0, 1])
  })

  test('what is there is not held back by what is still to come', async () => {
    const gate = Promise.withResolvers<void>()
    async function* slow() {
      yield new Uint8Array(1)
      yield new Uint8Array(2)
      await gate.promise
      yield new Uint8Array(3)
    }
    const messages = blobMessages(slow())
    expect((await messages.next()).value).toHaveLength(3)
    gate.resolve()
    expect((await messages.next()).value).toHaveLength(3)
    expect((await messages.next()).done).toBe(true)
  })

  test('a failure comes after what was there before it', async () => {
    async function* failing() {
      yield new Uint8Array(1)
      throw new Error('broken')
    }
    const messages = blobMessages(failing())
    expect((await messages.next()).value).toHaveLength(1)
    await expect(messages.next()).rejects.toThrow('broken')
  })

  test('leaving early leaves the source', async () => {
    let left = false
    async function* source() {
      try {
        for (;;) yield new Uint8Array(GRPC_BLOB_PIECE_BYTES_MIN)
      } finally {
        left = true
      }
    }
    for await (const _ of blobMessages(source())) break
    expect(left).toBe(true)
  })
})
