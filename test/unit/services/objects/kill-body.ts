import { pseudoRandom } from '../../../support/pseudo-random.ts'

/** What belongs under `key`: 1 byte to 200 KB. */
export function bodyOf(key: string): Uint8Array {
  let seed = 0
  for (const character of key) seed = (seed * 31 + character.charCodeAt(0)) | 0
  return pseudoRandom(1 + (Math.abs(seed) % 200_000), seed)
}
