/** What protobuf messages are made of: tags, and varints that are wrong in the ways that a varint can be. */
export const PROTOBUF_WORDS: readonly Uint8Array[] = [
  [0x0a],
  [0x12],
  [0x1a],
  [0x18],
  [0x20, 1],
  [0x22],
  [0x32],
  [0x3a],
  [0x0a, 0x2f],
  [0x12, 0x20, ...new Array(32).fill(0)],
  [0x12, 0x14, ...new Array(20).fill(0)],
  [0x80, 0],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
  [0x8a, 0x80, 0x80, 0x80, 0x10],
  [0x0b, 0x0c],
  [0x9d, 6, 0, 0, 0, 0],
].map((bytes) => Uint8Array.from(bytes))

/** Every `proto_hex` in a part of the vectors, valid or not. */
export function messagesIn(part: unknown): Uint8Array[] {
  if (typeof part !== 'object' || part === null) return []
  const { proto_hex: hex } = part as { proto_hex?: string }
  const own = hex === undefined ? [] : [Buffer.from(hex, 'hex')]
  return [...own, ...Object.values(part).flatMap(messagesIn)]
}
