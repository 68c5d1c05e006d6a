import { countBuffers } from './buffer-garbage.ts'

/**
 * zstd frames of bytes that no compressor shortens: compressed, encrypted, random. They are stored in raw blocks, as
 * zstd itself would store them after having tried, which is most of what writing such a chunk costs.
 */

const MAGIC = 0xfd2fb528
/** Frame header (RFC 8878 §3.1.1.1): single segment, content size of 4 bytes, no checksum. */
const DESCRIPTOR = 0xa0
const HEAD_BYTES = 4 + 1 + 4
const BLOCK_HEAD_BYTES = 3
/** Block_Maximum_Size */
const BLOCK_BYTES_MAX = 128 * 1024

/** Looked at of a buffer: enough for a verdict, for a hundredth of what compressing it takes. */
const SAMPLES = 16
const SAMPLE_BYTES = 1024
/**
 * Bytes that all occur equally often have a chi-square of 255 ± 23. This much over a sample of 16 KiB is 0.3 % that an
 * entropy coder could save at most; zstd does not bother below 1.6 %.
 */
const CHI_SQUARE_MAX = 400

const counts = new Uint32Array(256)

/**
 * Whether the bytes look like noise: all of them equally frequent, in samples from all over. What repeats long pieces of
 * noise is taken for noise as well, which costs space and nothing else.
 */
export function looksLikeNoise(bytes: Uint8Array): boolean {
  const total = SAMPLES * SAMPLE_BYTES
  if (bytes.length < total) return false
  counts.fill(0)
  const stride = Math.floor((bytes.length - SAMPLE_BYTES) / (SAMPLES - 1))
  for (let sample = 0; sample < SAMPLES; sample++) {
    const start = sample * stride
    for (let i = start; i < start + SAMPLE_BYTES; i++) counts[bytes[i]!]!++
  }
  const expected = total / 256
  let squares = 0
  for (const count of counts) squares += (count - expected) ** 2
  return squares / expected <= CHI_SQUARE_MAX
}

/** One zstd frame that holds the bytes as they are; fewer than 4 GiB. */
export function storedFrame(bytes: Uint8Array): Uint8Array {
  const blocks = Math.max(1, Math.ceil(bytes.length / BLOCK_BYTES_MAX))
  const frame = Buffer.allocUnsafeSlow(HEAD_BYTES + blocks * BLOCK_HEAD_BYTES + bytes.length)
  countBuffers(frame.length)
  frame.writeUInt32LE(MAGIC, 0)
  frame[4] = DESCRIPTOR
  frame.writeUInt32LE(bytes.length, 5)
  let at = HEAD_BYTES
  for (let block = 0; block < blocks; block++) {
    const contents = bytes.subarray(block * BLOCK_BYTES_MAX, (block + 1) * BLOCK_BYTES_MAX)
    const isLast = block === blocks - 1 ? 1 : 0
    at = frame.writeUIntLE((contents.length << 3) | isLast, at, BLOCK_HEAD_BYTES)
    frame.set(contents, at)
    at += contents.length
  }
  return frame
}
