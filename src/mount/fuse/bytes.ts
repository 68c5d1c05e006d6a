import { endianness } from 'node:os'

/** FUSE speaks the host's byte order; DataView's last argument. */
export const LITTLE_ENDIAN = endianness() === 'LE'

const U32 = 0x1_0000_0000

/** Offsets of the low and the high half of a 64-bit integer. */
export const LOW = LITTLE_ENDIAN ? 0 : 4
export const HIGH = LITTLE_ENDIAN ? 4 : 0

/** Writes a whole number below 2^53 as 64 bits, without going through a bigint. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at + LOW, value % U32, LITTLE_ENDIAN)
  view.setUint32(at + HIGH, value / U32, LITTLE_ENDIAN)
}

/** Reads 64 bits as a number: exact below 2^53, the nearest double above it. */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at + HIGH, LITTLE_ENDIAN) * U32 + view.getUint32(at + LOW, LITTLE_ENDIAN)
}

export function dataView(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
