import { describe, expect, test } from 'vitest'
import { blobMessages } from '../../../../src/servers/grpc/blob-messages.ts'
import { GRPC_BLOB_MESSAGE_BYTES, GRPC_BLOB_PIECE_BYTES_MIN } from '../../../../src/support/limits.ts'

const NOTHING_LEFT = { messagesLeft: 0 }
const ALL_LEFT = { messagesLeft: Number.POSITIVE_INFINITY }

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
    expect(await sizesOf(blobMessages(from(pieces), NOTHING_LEFT))).toEqual(messages)
  })

  test('have the bytes in order', async () => {
    const messages: Uint8Array[] = []
    for await (const message of blobMessages(from([2, 1, 70_000, 3, 1]), NOTHING_LEFT)) messages.push(message)
    const expected = [0, 0, 1, ...Array(70_000).fill(2), 3, 3, 3, 4]
    expect(Buffer.concat(messages).equals(Buffer.from(expected))).toBe(true)
  })

  test('a piece is given back when its last message has left, and not before', async () => {
    const given: number[] = []
    const large = GRPC_BLOB_MESSAGE_BYTES + 1
    const pieces = from([large, large, 10, large])
    const progress = { messagesLeft: 0 }
    const messages = blobMessages(
      { [Symbol.asyncIterator]: () => pieces, giveBack: (piece) => given.push(piece[0]!) },
      progress,
    )
    const askAfter = async (messagesLeft: number) => {
      progress.messagesLeft = messagesLeft
      await messages.next()
      return [...given]
    }
    expect(await askAfter(0)).toEqual([])
    expect(await askAfter(1)).toEqual([])
    expect(await askAfter(2)).toEqual([0])
    expect(await askAfter(2)).toEqual([0])
    // The third piece is small, and shows its message to nobody.
    expect(await askAfter(3)).toEqual([0])
    expect(await askAfter(4)).toEqual([0, 1])
    expect(await askAfter(6)).toEqual([0, 1])
    expect(await askAfter(7)).toEqual([0, 1, 3])
    expect((await messages.next()).done).toBe(true)
  })

  test('of a source that takes nothing back nothing is kept', async () => {
    const sizes = [GRPC_BLOB_PIECE_BYTES_MIN, GRPC_BLOB_PIECE_BYTES_MIN]
    expect(await sizesOf(blobMessages(from(sizes), ALL_LEFT))).toEqual(sizes)
  })

  test('what is there is not held back by what is still to come', async () => {
    const gate = Promise.withResolvers<void>()
    async function* slow() {
      yield new Uint8Array(1)
      yield new Uint8Array(2)
      await gate.promise
      yield new Uint8Array(3)
    }
    const messages = blobMessages(slow(), NOTHING_LEFT)
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
    const messages = blobMessages(failing(), NOTHING_LEFT)
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
    for await (const _ of blobMessages(source(), ALL_LEFT)) break
    expect(left).toBe(true)
  })
})
