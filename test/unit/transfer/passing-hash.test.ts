import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { PassingHash } from '../../../src/transfer/passing-hash.ts'
import { pseudoRandom } from '../../support/pseudo-random.ts'

it.each([[], [1], [300_000, 1], [100, 200_000, 56_000, 44, 0], Array.from({ length: 40 }, () => 262_144)])(
  'is the SHA-256 of all pieces, in their order (%#)',
  async (...sizes: number[]) => {
    const hash = new PassingHash()
    const expected = createHash('sha256')
    for (const [seed, size] of sizes.entries()) {
      const piece = pseudoRandom(size, seed + 1)
      expected.update(piece)
      await hash.update(piece)
    }
    expect(Buffer.from(await hash.digest()).toString('hex')).toBe(expected.digest('hex'))
  },
)

it('makes whoever is far ahead wait', async () => {
  const hash = new PassingHash()
  const piece = pseudoRandom(1_000_000, 1)
  const waits = Array.from({ length: 10 }, () => hash.update(piece))
  expect(waits.slice(0, 4).filter(Boolean)).toEqual([])
  expect(waits.slice(4).every((wait) => wait instanceof Promise)).toBe(true)
  await Promise.all(waits)
  await hash.digest()
})
