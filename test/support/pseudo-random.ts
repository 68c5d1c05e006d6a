/** Noise that is the same in every run: a xorshift generator started with `seed`. */
export function pseudoRandom(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = (seed * 0x9e3779b1) >>> 0 || 1
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state = (state ^ (state << 5)) >>> 0
    words[i] = state
  }
  return new Uint8Array(words.buffer, 0, length)
}
